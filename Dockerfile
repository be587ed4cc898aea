# The service and nothing of the training. See compose.yaml for how to run it.
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY recsys recsys
COPY serve serve
RUN python -m venv /opt/venv && /opt/venv/bin/pip install --no-cache-dir --constraint constraints.txt '.[serve]'

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home recsys
COPY --from=build /opt/venv /opt/venv
USER 10001
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 RECSYS_HOST=0.0.0.0 RECSYS_PORT=8000 RECSYS_POINTER=/outputs/serving
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["python", "-m", "serve.health"]
ENTRYPOINT ["python", "-m", "serve"]
