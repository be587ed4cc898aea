"""The routes, one module per resource. A new module joins `ROUTERS`; a new route joins its module's `router`."""

from serve.routers import events, health, info, items, jobs, metrics, predictions, recommendations, users

ROUTERS = [
    *(module.router for module in (predictions, recommendations, events, items, users, jobs, info, health, metrics)),
    items.changes,
    users.changes,
]
