"""Metrics for Prometheus."""

from __future__ import annotations

from fastapi import Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from serve.api_error import ApiError
from serve.dependencies import CurrentService
from serve.process.deadlines import Overdue
from serve.routing import resource_router

router = resource_router("operations", needs="operations")

SECONDS = 3.0  # for reading what the workers wrote


@router.get("/metrics", response_class=PlainTextResponse, summary="Metrics for Prometheus")
async def metrics(service: CurrentService) -> Response:
    metrics = service.metrics
    metrics.report_answers(service.answers.counts, service.answers.bytes)
    try:
        text = await service.deadlines.awaited(SECONDS, metrics.text) if metrics.is_shared else metrics.text()
    except Overdue:
        raise ApiError(503, "metrics_unavailable", "the workers' figures could not be read in time") from None
    return Response(text, media_type=CONTENT_TYPE_LATEST)
