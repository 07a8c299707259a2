# The device's image; build it from the root of the checkout:
#   docker build --file docker/edge.Dockerfile --tag isthmus-edge .
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY . .
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && python -m venv /opt/isthmus \
    && /opt/isthmus/bin/python -m pip install --no-cache-dir "$(echo /wheels/*.whl)[edge]"

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
WORKDIR /data
STOPSIGNAL SIGTERM
# A run over pictures ends by itself and tells by its exit code; there is no port to ask.
HEALTHCHECK NONE
ENTRYPOINT ["isthmus", "edge"]
CMD ["--help"]
