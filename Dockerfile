# The service and nothing of the training; every package verified by its hash. See compose.yaml for how to run it.
FROM python:3.11-slim@sha256:9c900dea9e8fb7e16277c179b555cc72d29a352dbc33cff48ad5a0412fd5bfc7 AS build
WORKDIR /src
COPY requirements/build.txt requirements/serve.txt requirements/
RUN python -m venv /opt/build && python -m venv --without-pip /opt/venv
RUN /opt/build/bin/pip install --no-cache-dir --require-hashes --no-deps -r requirements/build.txt
RUN /opt/build/bin/pip --python /opt/venv/bin/python install --no-cache-dir --require-hashes --no-deps --only-binary :all: -r requirements/serve.txt
COPY pyproject.toml README.md LICENSE ./
COPY recsys recsys
COPY serve serve
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist .
RUN /opt/build/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-deps dist/*.whl
RUN /opt/build/bin/pip --python /opt/venv/bin/python check

FROM python:3.11-slim@sha256:9c900dea9e8fb7e16277c179b555cc72d29a352dbc33cff48ad5a0412fd5bfc7
COPY --from=build /opt/venv /opt/venv
# Any other user will do: nothing is written but to /tmp, and nothing belongs to this one.
USER 10001:0
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    RECSYS_HOST=0.0.0.0 RECSYS_PORT=8000 RECSYS_OPERATIONS_PORT=8001 RECSYS_POINTER=/outputs/serving RECSYS_KEYS=/outputs/keys.json
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["python", "-m", "serve.health"]
ENTRYPOINT ["python", "-m", "serve"]
