"""Metrics for Prometheus."""

from __future__ import annotations

from fastapi import Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from serve.dependencies import CurrentService
from serve.routing import resource_router

router = resource_router("operations")


@router.get("/metrics", response_class=PlainTextResponse, summary="Metrics for Prometheus")
async def metrics(service: CurrentService) -> Response:
    return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)
