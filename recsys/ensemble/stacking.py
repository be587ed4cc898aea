"""Weights of an ensemble's members, fitted to validation rows and chosen by cross-validation on them.

    z = sum_m (w_m + s_m a_u) z_m        z_m: linear part of member m; a_u: activity of the user

With link `identity` a rating is `z + intercept`: ridge regression. With `ordinal` it is the level k of the scale with
`t_{k-1} < z + e <= t_k`, `e ~ N(0, 1)`: an ordered probit, by maximum likelihood. The ridge pulls both towards equal
weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.ordinal import normal_cdf
from recsys.bundle.typing import Float64Array

LINKS = ("identity", "ordinal")
FOLDS = 5
PENALTIES = (1e-6, 1e-4, 1e-2)  # per row; of a weight's squared distance from that of equal weights
MOST_LEVELS = 20  # of a scale whose ratings may be levels
SIGNIFICANT = 2.0  # standard errors by which a further freedom must pay
STEPS = 20
CONVERGED = 1e-5  # largest step of a weight or threshold
FAR = 30.0  # standard deviations; stands for infinity
LEAST = 1e-12  # of a probability that is divided by


@dataclass(frozen=True)
class Form:
    """What kind of weights are fitted."""

    link: str = "identity"
    by_activity: bool = False  # whether weights depend on the number of a user's ratings
    non_negative: bool = False  # whether members whose weight would be negative are left out
    penalty: float = PENALTIES[0]


@dataclass(frozen=True, eq=False)
class Rows:
    """Validation rows as the members predict them."""

    linear: Float64Array  # (rows, members)
    rating: Float64Array  # (rows,) stars
    user_ratings: NDArray[np.integer]  # (rows,) ratings of the row's user that the members were fitted on
    scale: tuple[float, float]
    levels: Float64Array | None  # (levels,) of the scale; None: its ratings are no levels

    def take(self, rows: NDArray[np.bool_]) -> Rows:
        """Some of the rows."""
        return replace(self, linear=self.linear[rows], rating=self.rating[rows], user_ratings=self.user_ratings[rows])

    def of(self, members: list[int]) -> Rows:
        """Some of the members."""
        return replace(self, linear=self.linear[:, members])


@dataclass(frozen=True, eq=False)
class Stack:
    """Fitted weights."""

    form: Form
    weights: Float64Array  # (members,), at the rows' mean activity
    slopes: Float64Array  # (members,) change of a weight per standard deviation of the activity
    activity: tuple[float, float, float, float]  # mean, standard deviation, least and greatest of log(1 + ratings)
    intercept: float  # 0 behind an ordinal link
    thresholds: Float64Array | None  # (levels - 1,) behind an ordinal link
    noise: float  # standard deviation of the latent score behind an ordinal link; 0: none

    def weights_of(self, user_ratings: NDArray[np.integer]) -> Float64Array:
        """The weights of users with so many ratings each, `(users, members)`."""
        mean, spread, least, most = self.activity
        activity = (np.log1p(user_ratings).clip(least, most) - mean) / spread
        return np.asarray(self.weights + activity[:, None] * self.slopes)

    def predict(self, rows: Rows) -> Float64Array:
        """Stars within the scale, `(rows,)`."""
        linear = (self.weights_of(rows.user_ratings) * rows.linear).sum(1) + self.intercept
        if self.thresholds is None or rows.levels is None:
            return np.asarray(linear.clip(*rows.scale))
        below = (self.thresholds - linear[:, None]) / self.noise
        return np.asarray(rows.levels[-1] - normal_cdf(below) @ np.diff(rows.levels))


def fit_stack(rows: Rows, form: Form) -> Stack:
    """Fit the weights; with `non_negative`, the most negative member is left out until there is none."""
    log = np.log1p(rows.user_ratings)
    activity = (float(log.mean()), float(log.std()) or 1.0, float(log.min()), float(log.max()))
    standardized = (log - activity[0]) / activity[1]
    members = list(range(rows.linear.shape[1]))
    while True:
        linear = rows.linear[:, members]
        columns = np.concatenate([linear, standardized[:, None] * linear], 1) if form.by_activity else linear
        solution, intercept, thresholds = _fit(columns, rows, form, len(members))
        weights, slopes = np.zeros((2, rows.linear.shape[1]))
        weights[members] = solution[: len(members)]
        if form.by_activity:
            slopes[members] = solution[len(members) :]
        if not form.non_negative or len(members) == 1 or weights[members].min() >= 0:
            break
        members.remove(int(weights.argmin()))
    noise = 0.0
    if thresholds is not None:  # latent scores in stars, as far as the members' linear parts are
        noise = 1 / float(weights.sum()) if weights.sum() > 0 else 1.0
        weights, slopes, thresholds = weights * noise, slopes * noise, thresholds * noise
    return Stack(form, weights, slopes, activity, intercept, thresholds, noise)


def _fit(
    columns: Float64Array, rows: Rows, form: Form, members: int
) -> tuple[Float64Array, float, Float64Array | None]:
    """Coefficients of the columns, the intercept, and the thresholds behind an ordinal link."""
    equal = np.zeros(columns.shape[1])
    equal[:members] = 1 / members
    if form.link == "ordinal":
        return _fit_ordinal(columns, rows, form.penalty * len(rows.rating), equal)
    mean, level = columns.mean(0), float(rows.rating.mean())
    centred = columns - mean
    gram = centred.T @ centred + form.penalty * len(columns) * np.eye(len(equal))
    solution = equal + np.linalg.solve(gram, centred.T @ (rows.rating - level - centred @ equal))
    return solution, level - float(mean @ solution), None


def _fit_ordinal(
    columns: Float64Array, rows: Rows, penalty: float, equal: Float64Array
) -> tuple[Float64Array, float, Float64Array]:
    """Ordered probit with unit noise: BHHH steps (Berndt et al. 1974) from the equally weighted sum."""
    assert rows.levels is not None
    levels, width = rows.levels, len(equal)
    place = np.abs(rows.rating[:, None] - levels).argmin(1)
    scale = 1 / float((rows.rating - columns @ equal).std() or 1.0)
    solution = np.concatenate([equal, (levels[1:] + levels[:-1]) / 2]) * scale
    pull = np.append(np.full(width, penalty), np.zeros(len(levels) - 1))
    for _ in range(STEPS):
        linear, ends = columns @ solution[:width], np.concatenate([[-np.inf], solution[width:], [np.inf]])
        low, high = ((ends[place + k] - linear).clip(-FAR, FAR) for k in (0, 1))
        share = np.maximum(normal_cdf(high) - normal_cdf(low), LEAST)
        at_low, at_high = (np.exp(-(end**2) / 2) / np.sqrt(2 * np.pi) / share for end in (low, high))
        # Of the log-likelihood of each row, by coefficient and by threshold.
        gradient = np.zeros((len(columns), width + len(levels) - 1))
        gradient[:, :width] = (at_low - at_high)[:, None] * columns
        below, above = np.flatnonzero(place > 0), np.flatnonzero(place < len(levels) - 1)
        gradient[below, width + place[below] - 1] -= at_low[below]
        gradient[above, width + place[above]] += at_high[above]
        start = np.append(equal * solution[:width].sum(), solution[width:])  # equal weights of the same sum
        information = gradient.T @ gradient + np.diag(pull) + 1e-9 * len(columns) * np.eye(len(pull))
        step = np.linalg.solve(information, gradient.sum(0) - pull * (solution - start))
        solution = solution + step
        solution[width:] = np.sort(solution[width:])
        if np.abs(step).max() < CONVERGED:
            break
    return solution[:width], 0.0, solution[width:]


def cross_validated(rows: Rows, form: Form) -> Float64Array:
    """Predictions `(rows,)` by weights that were fitted without the row, in five parts drawn at random."""
    part = np.random.default_rng(0).permutation(len(rows.rating)) % FOLDS
    predicted = np.empty(len(rows.rating))
    for number in range(FOLDS):
        held_out = part == number
        predicted[held_out] = fit_stack(rows.take(~held_out), form).predict(rows.take(held_out))
    return predicted


def rmse(rows: Rows, predicted: Float64Array) -> float:
    """In stars."""
    return float(np.sqrt(np.square(predicted - rows.rating).mean()))


def choose_form(
    rows: Rows, links: tuple[str, ...], by_activity: bool | None, non_negative: bool | None
) -> tuple[Form, float]:
    """The form that predicts rows best that its weights were not fitted on, and its RMSE.

    Link and penalty come first. Weights by activity are taken where they pay by two standard errors, and so are
    negative weights: members that are left out cost nothing.

    Args:
        rows: Validation rows.
        links: To choose from.
        by_activity: Whether weights depend on the user's activity; None: where it pays.
        non_negative: Whether weights must not be negative; None: unless negative ones pay.
    """

    def errors(form: Form) -> Float64Array:
        return np.square(cross_validated(rows, form) - rows.rating)

    start = Form(by_activity=bool(by_activity), non_negative=bool(non_negative))
    candidates = [replace(start, link=link, penalty=penalty) for link in links for penalty in PENALTIES]
    best, form = min(((errors(form), form) for form in candidates), key=lambda pair: float(pair[0].mean()))
    if by_activity is None:
        freer = replace(form, by_activity=True)
        if _pays(found := errors(freer), best):
            best, form = found, freer
    if non_negative is None and fit_stack(rows, form).weights.min() < 0:
        stricter = replace(form, non_negative=True)
        if not _pays(best, found := errors(stricter)):
            best, form = found, stricter
    return form, float(np.sqrt(best.mean()))


def _pays(errors: Float64Array, others: Float64Array) -> bool:
    """Whether squared errors are smaller than others of the same rows by more than chance."""
    gain = others - errors
    return bool(gain.mean() > SIGNIFICANT * gain.std() / np.sqrt(len(gain)))


def losses(rows: Rows, form: Form) -> list[float | None]:
    """By how much the cross-validated RMSE grows without each member; None of an only one."""
    members = list(range(rows.linear.shape[1]))
    if len(members) == 1:
        return [None]
    whole = rmse(rows, cross_validated(rows, form))
    rest = [rows.of([other for other in members if other != member]) for member in members]
    return [rmse(left, cross_validated(left, form)) - whole for left in rest]
