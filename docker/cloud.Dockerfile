# The cloud's image; build it from the root of the checkout:
#   docker build --file docker/cloud.Dockerfile --tag isthmus-cloud .
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY . .
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && python -m venv /opt/isthmus \
    && /opt/isthmus/bin/python -m pip install --no-cache-dir "$(echo /wheels/*.whl)[cloud]"

FROM ${BASE}
# A fixed number, so that mounted folders can be given to it and runAsNonRoot can check it.
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin isthmus
COPY --from=build /opt/isthmus /opt/isthmus
# ONNX Runtime would otherwise report to its makers and write an identifier of the machine.
ENV PATH=/opt/isthmus/bin:$PATH \
    ORT_DISABLE_TELEMETRY=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 50051
STOPSIGNAL SIGTERM
# Opens a connection only; it says that the port is served, not that answers come in time.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', 50051), 2).close()"]
ENTRYPOINT ["isthmus", "cloud"]
CMD ["--help"]
