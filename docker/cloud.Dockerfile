# The cloud's image; build it from the root of the checkout:
#   docker build --file docker/cloud.Dockerfile --tag isthmus-cloud .
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
# Which extras: cloud, cloud-openvino, cloud-webgpu, or ray (replicas and their front ends);
# telemetry is what --traces needs.
ARG EXTRA=cloud,telemetry
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY . .
RUN python3 -m venv /opt/isthmus \
    && /opt/isthmus/bin/python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && /opt/isthmus/bin/python -m pip install --no-cache-dir "$(echo /wheels/*.whl)[${EXTRA}]"

FROM ${BASE}
# A fixed number, so that mounted folders can be given to it and runAsNonRoot can check it.
# A new volume at /store begins as this folder does: the service may write there.
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin isthmus \
    && install --directory --owner 10001 --group 10001 --mode 0750 /store
COPY --from=build /opt/isthmus /opt/isthmus
COPY docker/ready.py /opt/isthmus/bin/isthmus-ready
# ONNX Runtime would otherwise report to its makers and write an identifier of the machine.
ENV PATH=/opt/isthmus/bin:$PATH \
    ORT_DISABLE_TELEMETRY=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 50051 8080
STOPSIGNAL SIGTERM
# Asks the web page's /readyz: tails are loaded, devices may come, no drain has begun.
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "/opt/isthmus/bin/isthmus-ready"]
# The page is on the container's own loopback, for the check above; another --http behind it holds.
ENTRYPOINT ["isthmus", "cloud", "--http", "127.0.0.1:8080"]
CMD ["--help"]
