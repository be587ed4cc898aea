"""Compute a job that was claimed for this process: `python -m serve.jobs JOB_ID --worker NAME --bundle FOLDER`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import threading
from pathlib import Path

# Set before NumPy is imported: others answer meanwhile.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from recsys.bundle import BundleError
from recsys.database import DatabaseError
from recsys.database.jobs import RUNNING, Jobs
from serve.api_error import ApiError
from serve.http.beside import Beside
from serve.http.load import Load
from serve.jobs.files import JobFiles
from serve.jobs.scoring import compute
from serve.list_requests import RecommendationOptions
from serve.live import Live
from serve.metrics import Metrics
from serve.models.served_model import ServedModel
from serve.process.child import end_with_parent
from serve.recommender import Recommendations, recommend
from serve.settings import Settings

NICENESS = 10  # beside a service that answers: a tenth of its share where they compete


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m serve.jobs", description=__doc__.partition(":")[0])
    parser.add_argument("job_id", help="of the job")
    parser.add_argument("--worker", required=True, help="for which it was claimed")
    parser.add_argument("--bundle", type=Path, required=True, help="folder of the bundle")
    parser.add_argument("--sha256", help="that the bundle's manifest must have")
    arguments = parser.parse_args()
    os.nice(NICENESS)
    threading.Thread(target=end_with_parent, daemon=True).start()
    settings = Settings()
    load = Load(settings.max_in_flight, settings.max_wait_seconds)
    try:
        live = Live.from_settings(settings, Beside(load), Metrics(load))
        if live is None:
            raise DatabaseError("database must be set, such as by RECSYS_DATABASE")
        run(arguments.job_id, arguments.worker, arguments.bundle, arguments.sha256, settings, live)
    except (ApiError, DatabaseError, BundleError) as error:
        sys.exit(f"error: {error}")


def run(job_id: str, worker: str, bundle: Path, sha256: str | None, settings: Settings, live: Live) -> None:
    """Compute a job, if it still belongs to this worker.

    Raises:
        ApiError: The database does not answer.
        BundleError: The bundle cannot be loaded: another process may have a newer one.
        DatabaseError: The database does not answer.
    """
    jobs = Jobs(live.database)
    job = jobs.get(job_id)
    if job is None or (job.state, job.worker) != (RUNNING, worker):
        return
    model = live.items.over(ServedModel.load(bundle, sha256=sha256, settings=settings))
    files, loop = JobFiles(settings.jobs, str(jobs.database)), asyncio.new_event_loop()

    def now(user_id: str, options: RecommendationOptions) -> Recommendations:
        return recommend(model, loop.run_until_complete(live.people.person({}, model, user_id)), options)

    try:
        compute(job, jobs, files, model, now)
    except OSError as error:
        jobs.end(job, f"the result cannot be written: {error.strerror}")
    finally:
        loop.close()


if __name__ == "__main__":
    main()
