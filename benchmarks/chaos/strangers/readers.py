"""In what is only read: bundles, figures, reports, data and caches."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import ipc, parquet

from benchmarks.chaos.strangers.checkpoints import Command
from benchmarks.chaos.strangers.scene import SETTINGS, Planted, Scene, payload, write_json

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x1b[1;31mred\x1b]8;;http://evil.example\x07click\x9b0m\u202e"
MARKUP = "[link=http://evil.example]click[/link] [bold red]x[/] <script>alert(1)</script> </script><img src=x>"


def rewritten(bundle: Path, changes: dict[str, Any], files: dict[str, bytes] | None = None) -> None:
    """Change a bundle's manifest, and files of it, and let the manifest vouch for all."""
    manifest = json.loads((bundle / "manifest.json").read_text()) | changes
    for name, content in (files or {}).items():
        (bundle / name).write_bytes(content)
        manifest["files"][name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    text = json.dumps(manifest)
    (bundle / "manifest.json").write_text(text)
    if (bundle / "manifest.sha256").exists():
        digest = hashlib.sha256(text.encode()).hexdigest()
        (bundle / "manifest.sha256").write_text(f"{digest}  manifest.json\n")


def readings(scene: Scene) -> Planted:
    """Every command that reads a bundle."""
    return [
        ("evaluate", f"run={scene.run}"),
        ("evaluate", f"run={scene.run}", "ranking=true"),
        ("recommend", f"run={scene.run}", f"out={scene.run / 'top.csv'}", "k=2"),
        ("recommend", f"run={scene.run}", f"out={scene.run / 'top.parquet'}", "k=2"),
        ("promote", str(scene.run), "--pointer", str(scene.run / "serving")),
    ]


@payload("finished")
def pickle_for_the_arrays_of_a_bundle(scene: Scene) -> Planted:
    rewritten(scene.run / "bundle", {}, {"factors.safetensors": pickle.dumps(Command(scene.shell))})
    return readings(scene)


@payload("finished")
def numpy_pickle_for_the_ids_of_a_bundle(scene: Scene) -> Planted:
    np.save(scene.run / "x.npy", np.array([Command(scene.shell)], dtype=object), allow_pickle=True)
    rewritten(scene.run / "bundle", {}, {"ids.safetensors": (scene.run / "x.npy").read_bytes()})
    return readings(scene)


@payload("finished")
def file_of_a_bundle_elsewhere(scene: Scene) -> Planted:
    manifest = json.loads((scene.run / "bundle" / "manifest.json").read_text())
    content = (scene.home / ".bashrc").read_bytes()
    entry = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    rewritten(scene.run / "bundle", {"files": manifest["files"] | {"../../home/.bashrc": entry}})
    return readings(scene)


@payload("finished")
def classes_in_a_manifest(scene: Scene) -> Planted:
    target = {"_target_": "os.system", "command": scene.shell}
    rewritten(scene.run / "bundle", {"arguments": target, "model": target, "split": target, "py/object": "os.system"})
    return readings(scene)


@payload("finished")
def sequences_for_terminals_in_a_bundle(scene: Scene) -> Planted:
    rewritten(
        scene.run / "bundle", {"data": ESCAPES, "model": ESCAPES, "split": ESCAPES, "arguments": {ESCAPES: ESCAPES}}
    )
    metrics = json.loads((scene.run / "metrics.json").read_text())
    write_json(scene.run / "metrics.json", metrics | {"model": ESCAPES, "data": ESCAPES, f"x{ESCAPES}": 1.0})
    return [*readings(scene), ("train", f"resume={scene.run}"), ("report", str(scene.run))]


@payload("finished")
def sequences_for_terminals_in_titles(scene: Scene) -> Planted:
    items = json.loads((scene.run / "bundle" / "items.json").read_text())
    for item in items:
        item["title"], item["genres"] = ESCAPES, [ESCAPES]
    rewritten(scene.run / "bundle", {}, {"items.json": json.dumps(items).encode()})
    return readings(scene)


@payload("finished")
def sequences_for_terminals_in_the_name_of_a_folder(scene: Scene) -> Planted:
    folder = scene.run / f"x{ESCAPES.replace('/', '_')}"
    folder.mkdir()
    for name in ("config.yaml", "metrics.json", "status.json"):
        (folder / name).write_bytes((scene.run / name).read_bytes())
    return [("report", str(scene.run)), ("report", str(scene.run), "--format", "md"), ("evaluate", f"run={folder}")]


@payload("finished")
def formulas_in_titles(scene: Scene) -> Planted:
    items = json.loads((scene.run / "bundle" / "items.json").read_text())
    for item in items:
        item["title"] = '=HYPERLINK("http://evil.example";"x")'
    rewritten(scene.run / "bundle", {}, {"items.json": json.dumps(items).encode()})
    return readings(scene)


@payload("finished")
def state_that_would_be_a_command(scene: Scene) -> Planted:
    """A command to copy from the report, for someone who trusts what the report prints."""
    scene.change("config.yaml", {"overrides": [f"+callbacks.x={{_target_: os.system, command: '{scene.shell}'}}"]})
    return reports(scene)


@payload("finished")
def command_with_another_configuration(scene: Scene) -> Planted:
    scene.change("config.yaml", {"overrides": [f"--config-dir={scene.run}", "model=evil"]})
    return reports(scene)


@payload("finished")
def command_in_two_lines(scene: Scene) -> Planted:
    scene.change("config.yaml", {"overrides": [f"seed=1\ntouch {scene.ran}\n", "x=$(touch x)`touch x`; touch x"]})
    return [(*command, *more) for command in reports(scene) for more in ((),)]


@payload("finished")
def sequences_for_terminals_in_overrides(scene: Scene) -> Planted:
    scene.change("config.yaml", {"overrides": [f"data.name={ESCAPES}"], "model_name": ESCAPES})
    return reports(scene)


@payload("finished")
def markup_everywhere(scene: Scene) -> Planted:
    changes = {"model_name": MARKUP, "data.name": MARKUP, "data.split": MARKUP, "overrides": [f"data.name={MARKUP}"]}
    scene.change("config.yaml", changes)
    metrics = json.loads((scene.run / "metrics.json").read_text())
    write_json(scene.run / "metrics.json", metrics | {"model": MARKUP, "data": MARKUP, MARKUP: 1.0})
    write_json(scene.run / "status.json", {"state": "failed", "message": MARKUP, "started": None, "seconds": 1})
    return reports(scene)


@payload("finished")
def report_reads_another_file(scene: Scene) -> Planted:
    (scene.home / "secret.yaml").write_text("{")
    for name in ("config.yaml", "metrics.json"):
        (scene.run / name).unlink()
        (scene.run / name).symlink_to(scene.home / "secret.yaml")
    return reports(scene)


def reports(scene: Scene) -> Planted:
    formats = ("table", "md", "csv", "json", "html")
    return [("report", str(scene.run), "--format", kind) for kind in formats]


def retrained(scene: Scene) -> Planted:
    return [("train", *SETTINGS, f"data.root={scene.data}", f"hydra.run.dir={scene.run / 'again'}")]


def cached(scene: Scene) -> Path:
    return next(scene.cache.glob("parsed/*-ratings.parquet"))


@payload("finished")
def class_in_the_parse_cache(scene: Scene) -> Planted:
    """What was inferred of the data is written to the configuration."""
    original = cached(scene)
    table = parquet.read_table(original)
    manifest = json.loads(table.schema.metadata[b"recsys"])
    finding = {"option": "x", "value": {"_target_": "os.system", "command": scene.shell}, "why": "x", "sure": True}
    manifest["settled"] = {"missing": [finding["value"]], "repeats": finding["value"]}
    for one in manifest["findings"]:
        one["value"] = finding["value"]
    metadata = dict(table.schema.metadata) | {b"recsys": json.dumps(manifest).encode()}
    parquet.write_table(table.replace_schema_metadata(metadata), original, write_page_checksum=True)
    return retrained(scene)


@payload("finished")
def pickle_in_the_parse_cache(scene: Scene) -> Planted:
    """The extension type of Arrow that was pickled, until CVE-2023-47248."""
    original = cached(scene)
    table = parquet.read_table(original)
    evil = {b"ARROW:extension:name": b"arrow.py_extension_type"}
    evil[b"ARROW:extension:metadata"] = pickle.dumps(Command(scene.shell))
    schema = pa.schema([field.with_metadata(evil) for field in table.schema], table.schema.metadata)
    parquet.write_table(table.cast(schema), original, write_page_checksum=True)
    return retrained(scene)


@payload("finished")
def pickle_in_a_file_of_ratings(scene: Scene) -> Planted:
    evil = {b"ARROW:extension:name": b"arrow.py_extension_type"}
    evil[b"ARROW:extension:metadata"] = pickle.dumps(Command(scene.shell))
    columns = {"user_id": [1, 2] * 20, "item_id": list(range(40)), "rating": [1, 5] * 20}
    table = pa.table(columns)
    schema = pa.schema([field.with_metadata(evil) for field in table.schema])
    parquet.write_table(table.cast(schema), scene.run / "ratings.parquet")
    with ipc.new_file(scene.run / "ratings.arrow", schema) as file:
        file.write_table(table.cast(schema))
    (scene.run / "ratings.pkl").write_bytes(pickle.dumps(Command(scene.shell)))
    files = ("ratings.parquet", "ratings.arrow", "ratings.pkl")
    return [("inspect", str(scene.run / name)) for name in files]


@payload("finished")
def class_in_a_notebook_and_a_pointer(scene: Scene) -> Planted:
    """A pointer that names a bundle, and more."""
    (scene.run / "serving").write_text(f"{scene.run}/bundle\nsha256: $({scene.shell})\n")
    return [("promote", str(scene.run), "--pointer", str(scene.run / "serving"))]


@payload("finished")
def promoted_folder_of_two_lines(scene: Scene) -> Planted:
    folder = scene.run / "x\nsha256: 00"
    (scene.run / "bundle").rename(scene.run / "kept")
    folder.mkdir()
    (scene.run / "kept").rename(folder / "bundle")
    return [("promote", str(folder), "--pointer", str(scene.run / "serving"))]
