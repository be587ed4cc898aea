"""In sweeps and studies that are resumed."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.chaos.strangers.configurations import CHECKPOINT, own_database
from benchmarks.chaos.strangers.scene import SETTINGS, VARIABLE, Planted, Scene, payload, write_json


def sweep(scene: Scene, *task: str, hydra: tuple[str, ...] = ()) -> Planted:
    """A sweep of one job with further overrides, and resume."""
    typed = {"task": [*SETTINGS, f"data.root={scene.data}", *task], "hydra": list(hydra)}
    content = {"jobs": 1, "done": 0, "resumed": 0, "started": 0.0, "fixed": [], "overrides": typed}
    write_json(scene.run / "sweep.json", content)
    return scene.resume()


def study(scene: Scene, *task: str, hydra: tuple[str, ...] = ()) -> Planted:
    return sweep(
        scene, "hparams_search=optuna", *task,
        hydra=("hydra.sweeper.n_trials=1", "hydra.sweeper.study=s", *hydra),
    )  # fmt: skip


@payload("sweep")
def class_of_a_sweep(scene: Scene) -> Planted:
    return sweep(scene, "model._target_=os.system", f"+model.command='{scene.shell}'")


@payload("sweep")
def class_among_the_values_of_a_sweep(scene: Scene) -> Planted:
    return sweep(scene, f"+callbacks.x={{_target_: os.system, command: '{scene.shell}'}},null")


@payload("sweep")
def class_of_an_old_sweep(scene: Scene) -> Planted:
    overrides = {"task": ["model._target_=os.system", f"+model.command='{scene.shell}'"], "hydra": []}
    write_json(scene.run / "multirun.yaml", {"hydra": {"overrides": overrides}})
    return scene.resume()


@payload("sweep")
def configuration_of_the_stranger(scene: Scene) -> Planted:
    (scene.run / "model").mkdir()
    (scene.run / "model" / "mf.yaml").write_text(f"_target_: os.system\ncommand: {scene.shell}\n")
    return sweep(scene, hydra=(f"hydra.searchpath=[file://{scene.run}]",))


@payload("sweep")
def flag_of_hydra(scene: Scene) -> Planted:
    (scene.run / "model").mkdir()
    (scene.run / "model" / "mf.yaml").write_text(f"_target_: os.system\ncommand: {scene.shell}\n")
    return sweep(scene, f"--config-dir={scene.run}")


@payload("sweep")
def option_out_of_the_configuration(scene: Scene) -> Planted:
    (scene.run / "evil.yaml").write_text(f"_target_: os.system\ncommand: {scene.shell}\n")
    return sweep(scene, f"model=../../../../../../..{scene.run}/evil")


@payload("sweep")
def callback_of_hydra(scene: Scene) -> Planted:
    return sweep(scene, hydra=(f"+hydra.callbacks.x={{_target_: os.system, command: '{scene.shell}'}}",))


@payload("sweep")
def launcher_of_hydra(scene: Scene) -> Planted:
    return sweep(scene, hydra=("hydra.launcher._target_=os.system", f"+hydra.launcher.command='{scene.shell}'"))


@payload("sweep")
def log_handler_of_hydra(scene: Scene) -> Planted:
    return sweep(scene, hydra=("+hydra.job_logging.handlers.file.class=os.system",))


@payload("sweep")
def variable_of_a_job(scene: Scene) -> Planted:
    return sweep(scene, hydra=("+hydra.job.env_set.PYTHONSTARTUP=/evil", f"+hydra.job.env_copy=[{VARIABLE}]"))


@payload("sweep")
def environment_in_a_sweep(scene: Scene) -> Planted:
    return sweep(scene, f"data.name=${{oc.env:{VARIABLE}}}")


@payload("sweep")
def environment_within_a_mapping(scene: Scene) -> Planted:
    return sweep(scene, f"data.events=${{mapping:${{oc.env:{VARIABLE}}},1}}")


@payload("sweep")
def job_folders_out_of_the_sweep(scene: Scene) -> Planted:
    return sweep(scene, hydra=("hydra.sweep.subdir=../home/mail",))


@payload("sweep")
def job_folders_at_home(scene: Scene) -> Planted:
    return sweep(scene, hydra=(f"hydra.sweep.subdir={scene.home}/jobs",))


@payload("sweep")
def hydras_own_files_at_home(scene: Scene) -> Planted:
    return sweep(scene, hydra=("hydra.output_subdir=../../home/mail",))


@payload("sweep")
def sweep_is_a_run_at_home(scene: Scene) -> Planted:
    return sweep(scene, hydra=("++hydra.mode=RUN", f"++hydra.run.dir={scene.home}/run"))


@payload("sweep")
def sweep_folder_at_home(scene: Scene) -> Planted:
    return sweep(scene, f"++hydra.sweep.dir={scene.home}/sweep", hydra=(f"++hydra.sweep.dir={scene.home}/sweep",))


@payload("sweep")
def callback_of_a_sweep_writes_at_home(scene: Scene) -> Planted:
    return sweep(scene, f"+callbacks.x._target_={CHECKPOINT}", f"+callbacks.x.dirpath={scene.home}/mail")


@payload("sweep")
def mapping_of_a_sweep_writes_at_home(scene: Scene) -> Planted:
    return sweep(
        scene, f"+callbacks.x._target_={CHECKPOINT}", "+callbacks.x.filename=../../../home/thesis",
        f"++callbacks={{x: {{dirpath: {scene.run}/0/checkpoints, enable_version_counter: false}}}}",
    )  # fmt: skip


@payload("sweep")
def trainer_of_a_sweep_works_at_home(scene: Scene) -> Planted:
    return sweep(scene, f"+trainer.default_root_dir={scene.home}/root", "trainer.profiler=simple")


@payload("sweep")
def curve_of_a_sweep_at_home(scene: Scene) -> Planted:
    return sweep(scene, f"logger.csv.save_dir={scene.home}")


@payload("sweep")
def run_dir_of_a_sweep(scene: Scene) -> Planted:
    return sweep(scene, f"run_dir={scene.home}")


@payload("sweep")
def another_run_is_resumed(scene: Scene) -> Planted:
    return sweep(scene, f"resume={scene.home}", "trial=0", "overrides=[x]")


@payload("sweep")
def job_links_to_a_folder(scene: Scene) -> Planted:
    (scene.run / "0").symlink_to(scene.home / "mail")
    return sweep(scene)


@payload("sweep")
def lines_link_to_a_file(scene: Scene) -> Planted:
    (scene.run / ".lines").symlink_to(scene.home / ".profile")
    return sweep(scene)


@payload("sweep")
def query_of_a_sweep(scene: Scene) -> Planted:
    own_database(scene)
    return sweep(scene, "data=sql", f"data.query=\"vacuum into '{scene.home / 'copy.db'}'\"")


@payload("sweep")
def tracker_of_a_sweep(scene: Scene) -> Planted:
    return sweep(scene, "logger=wandb", "logger.wandb.entity=evil", "logger.wandb.upload_bundle=true")


@payload("sweep")
def database_of_a_study_at_home(scene: Scene) -> Planted:
    return study(scene, hydra=(f"hydra.sweeper.storage=sqlite:///{scene.home}/study.db",))


@payload("sweep")
def database_of_a_study_links_home(scene: Scene) -> Planted:
    own_database(scene)
    (scene.run / "study.db").symlink_to(scene.home / "shop.db")
    return study(scene)


@payload("sweep")
def database_of_a_study_at_a_server(scene: Scene) -> Planted:
    port = scene.caller.getsockname()[1]
    url = f"postgresql+psycopg://reader@127.0.0.1:{port}/x?connect_timeout=2"
    return study(scene, hydra=(f"hydra.sweeper.storage='{url}'",))


def queued(scene: Scene, values: dict[str, Any], *, script: str = "") -> Planted:
    """A study whose database holds a trial to run, with these values."""
    import sqlite3

    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    file = scene.run / "study.db"
    made = optuna.create_study(storage=f"sqlite:///{file}", study_name="s", direction="minimize")
    made.enqueue_trial(values)
    if script:
        with sqlite3.connect(file) as database:
            database.executescript(script)
    return study(scene)


@payload("sweep")
def environment_in_a_queued_trial(scene: Scene) -> Planted:
    return queued(scene, {"model.dropout": f"${{oc.env:{VARIABLE}}}"})


@payload("sweep")
def class_in_a_queued_trial(scene: Scene) -> Planted:
    command = {"model._target_": "os.system", "+model.command": scene.shell, "model.dropout": 0.05}
    return queued(scene, command)


@payload("sweep")
def class_in_the_space_of_a_study(scene: Scene) -> Planted:
    distribution = {"name": "CategoricalDistribution", "attributes": {"choices": ["os.system"]}}
    script = (
        "insert into trials (trial_id, number, study_id, state) values (99, 1, 1, 'RUNNING');"
        "insert into trial_params (trial_id, param_name, param_value, distribution_json) values "
        f"(99, 'model._target_', 0.0, '{json.dumps(distribution)}');"
    )
    return queued(scene, {"model.dropout": 0.05}, script=script)


@payload("sweep")
def trigger_in_the_database_of_a_study(scene: Scene) -> Planted:
    script = (
        "create trigger t after insert on trial_params begin "
        f"select load_extension('{scene.run / 'evil.so'}'), writefile('{scene.ran}', 'x'); end;"
    )
    return queued(scene, {"model.dropout": 0.05}, script=script)


@payload("sweep")
def pickle_in_the_database_of_a_study(scene: Scene) -> Planted:
    script = (
        "insert into trial_system_attributes (trial_id, key, value_json) values "
        "(1, 'cma:optimizer', '\"80049526000000\"');"
        "insert into study_user_attributes (study_id, key, value_json) values (1, 'settings', '\"{\"');"
    )
    return queued(scene, {"model.dropout": 0.05}, script=script)
