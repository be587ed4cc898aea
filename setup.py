"""All else is in pyproject.toml; setuptools has no setting there that puts `conf/` into the wheel as `recsys/conf`."""

from __future__ import annotations

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConf(build_py):
    """An editable installation has no copy: `recsys.experiments.configuration.config_dir` finds the checkout's."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            self.copy_tree("conf", f"{self.build_lib}/recsys/conf")


setup(cmdclass={"build_py": BuildWithConf})
