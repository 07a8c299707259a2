# The cloud's image for NVIDIA's GPUs (x86-64); build it from the root of the checkout:
#   docker build --file docker/cloud-gpu.Dockerfile --tag isthmus-cloud-gpu .
#   docker run --gpus 1 … isthmus-cloud-gpu /bundle --provider cuda
# CUDA and cuDNN come as wheels beside ONNX Runtime; the host has the driver alone, and NVIDIA's
# container toolkit puts it into the container.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
# ray-gpu in place of cloud-gpu for replicas of Ray Serve.
ARG EXTRA=cloud-gpu,telemetry
# Its extras name the libraries that it was built with: 1.31 takes CUDA 13. The last one for
# CUDA 12, which older drivers know: --build-arg RUNTIME="onnxruntime-gpu[cuda,cudnn]==1.26.0"
ARG RUNTIME="onnxruntime-gpu[cuda,cudnn]"
# For --provider tensorrt, in the version that this ONNX Runtime was built with:
#   --build-arg LIBRARIES="tensorrt-cu13==…"
ARG LIBRARIES=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY . .
RUN python3 -m venv /opt/isthmus \
    && /opt/isthmus/bin/python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && /opt/isthmus/bin/python -m pip install --no-cache-dir \
        "$(echo /wheels/*.whl)[${EXTRA}]" "${RUNTIME}" ${LIBRARIES}

FROM ${BASE}
# A fixed number, so that mounted folders can be given to it and runAsNonRoot can check it.
# New volumes begin as these folders do: the service may write there.
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin isthmus \
    && install --directory --owner 10001 --group 10001 --mode 0750 /store /cache
COPY --from=build /opt/isthmus /opt/isthmus
COPY docker/ready.py /opt/isthmus/bin/isthmus-ready
# ONNX Runtime would otherwise report to its makers and write an identifier of the machine.
# TensorRT's engines are kept in /cache; the last two are for NVIDIA's container toolkit.
ENV PATH=/opt/isthmus/bin:$PATH \
    ORT_DISABLE_TELEMETRY=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    XDG_CACHE_HOME=/cache \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
EXPOSE 50051 8080
STOPSIGNAL SIGTERM
# Asks the web page's /readyz: tails are loaded, devices may come, no drain has begun.
# TensorRT builds its engines before that, for minutes.
HEALTHCHECK --interval=10s --timeout=5s --start-period=900s --retries=3 \
    CMD ["python", "/opt/isthmus/bin/isthmus-ready"]
# The page is on the container's own loopback, for the check above; another --http behind it holds.
ENTRYPOINT ["isthmus", "cloud", "--http", "127.0.0.1:8080"]
CMD ["--help"]
