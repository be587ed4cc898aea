"""LIBMF (Chin et al. 2015): matrix factorization without biases by parallel stochastic gradient descent."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_bool, c_float, c_int, c_longlong

import numpy as np

from benchmarks.comparison.contract import Floats, Run
from benchmarks.comparison.libmf_build import VERSION, library
from benchmarks.comparison.task import Task

NODE = np.dtype([("user", np.int32), ("item", np.int32), ("rating", np.float32)])  # mf_node


class Problem(Structure):
    """mf_problem: a matrix of m users and n items as a list of its known cells."""

    _fields_ = (("m", c_int), ("n", c_int), ("nnz", c_longlong), ("cells", ctypes.c_void_p))


class Parameter(Structure):
    """mf_parameter."""

    _fields_ = (
        *((name, c_int) for name in ("loss", "k", "nr_threads", "nr_bins", "nr_iters")),
        *((name, c_float) for name in ("lambda_p1", "lambda_p2", "lambda_q1", "lambda_q2", "eta")),
        *((name, c_bool) for name in ("do_nmf", "quiet", "copy_data")),
    )


class Model(Structure):
    """mf_model: P `(m, k)` and Q `(n, k)`; NaN in rows without a rating."""

    _fields_ = (
        *((name, c_int) for name in ("loss", "m", "n", "k")),
        ("mean", c_float), ("users", POINTER(c_float)), ("items", POINTER(c_float)),
    )  # fmt: skip


VERSIONS = {"libmf": VERSION}  # built from its sources, it is not installed
LIBMF = ctypes.CDLL(str(library()))
LIBMF.mf_get_default_param.restype = Parameter
LIBMF.mf_train.argtypes, LIBMF.mf_train.restype = [POINTER(Problem), Parameter], POINTER(Model)


class Libmf:
    """p_u . q_i, the mean where one of them is unknown. Has no seed; with several threads runs differ a little.

    `reg` is lambda of the squared norm, the same for users and items.
    """

    def __init__(self, run: Run) -> None:
        self.parameter = LIBMF.mf_get_default_param()
        self.parameter.k, self.parameter.nr_iters = run.settings["k"], run.settings["nr_iters"]
        self.parameter.eta, self.parameter.nr_threads = run.settings["eta"], run.threads
        self.parameter.lambda_p2 = self.parameter.lambda_q2 = run.settings["reg"]
        self.parameter.quiet = True

    def prepare(self, task: Task) -> None:
        self.cells = np.empty(len(task.train_user), NODE)
        self.cells["user"], self.cells["item"] = task.train_user, task.train_item
        self.cells["rating"] = task.train_rating
        self.problem = Problem(task.n_users, task.n_items, len(self.cells), self.cells.ctypes.data)
        self.user, self.item = task.test_user, task.test_item

    def fit(self) -> None:
        self.model = LIBMF.mf_train(ctypes.byref(self.problem), self.parameter).contents

    def predict(self) -> Floats:
        users = np.ctypeslib.as_array(self.model.users, (self.model.m, self.model.k))
        items = np.ctypeslib.as_array(self.model.items, (self.model.n, self.model.k))
        dot = np.einsum("rk,rk->r", users[self.user], items[self.item])
        predicted: Floats = np.where(np.isnan(dot), self.model.mean, dot)
        return predicted
