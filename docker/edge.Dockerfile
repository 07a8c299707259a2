# The device's image; build it from the root of the checkout:
#   docker build --file docker/edge.Dockerfile --tag isthmus-edge .
#   docker buildx build --platform linux/arm64,linux/amd64 --file docker/edge.Dockerfile .
# Everything is laid out on the machine that builds, from wheels: no compiler, and no emulation.
ARG BASE=python:3.11-slim-bookworm

FROM --platform=${BUILDPLATFORM} ${BASE} AS build
RUN python3 -m venv /build \
    && /build/bin/pip install --no-cache-dir --disable-pip-version-check uv==0.13.9 hatchling==1.33.0
WORKDIR /src
COPY . .
RUN /build/bin/hatchling build --target wheel --directory /wheels
ARG TARGETARCH
# Which runtime: edge (ONNX Runtime), edge-litert, or edge-tflite (Python 3.11 only).
ARG EXTRA=edge
# That of BASE, at most: newer wheels would not load.
ARG GLIBC=2_36
RUN case "${TARGETARCH}" in \
        amd64) machine=x86_64 ;; \
        arm64) machine=aarch64 ;; \
        *) echo "no wheels for ${TARGETARCH:-?}; build for linux/amd64 or linux/arm64" >&2; exit 1 ;; \
    esac \
    && /build/bin/uv pip install --no-cache --system-certs --only-binary :all: --link-mode copy \
        --python-version "$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')" \
        --python-platform "${machine}-manylinux_${GLIBC}" \
        --target /opt/isthmus "$(echo /wheels/*.whl)[${EXTRA}]"
# What no device runs: tests, headers, tools to convert models, accelerators other than the CPU, a
# second copy of ONNX Runtime for programs in C, zstandard's spare back end, and our other rooms.
WORKDIR /opt/isthmus
RUN rm -rf bin numpy/f2py numpy/_core/include numpy/_core/lib numpy/_pyinstaller \
        onnxruntime/backend onnxruntime/datasets onnxruntime/quantization onnxruntime/tools \
        onnxruntime/transformers onnxruntime/capi/libonnxruntime.so.* \
        ai_edge_litert/aot ai_edge_litert/tools ai_edge_litert/vendors \
        ai_edge_litert/libLiteRtWebGpuAccelerator.so \
        zstandard/_cffi.* zstandard/backend_cffi.py \
        isthmus_bench isthmus_cloud isthmus_models isthmus_partitioner \
    && find . \( -type d -name tests -prune -o -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' \) \
        -exec rm -rf {} + \
    && mkdir bin \
    && printf '%s\n' '#!/usr/bin/env python3' 'import sys' 'from isthmus_cli.main import main' \
        'sys.exit(main())' > bin/isthmus \
    && chmod 755 bin/isthmus \
    && python3 -m compileall -q --invalidation-mode unchecked-hash .

FROM ${BASE}
COPY --from=build /opt/isthmus /opt/isthmus
# ONNX Runtime would otherwise report to its makers and write an identifier of the machine.
# The daemon's sockets go to RUNTIME_DIRECTORY, where `isthmus edge status` looks for them.
ENV HOME=/tmp \
    ORT_DISABLE_TELEMETRY=1 \
    PATH=/opt/isthmus/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH=/opt/isthmus \
    PYTHONUNBUFFERED=1 \
    RUNTIME_DIRECTORY=/run/isthmus
# A fixed number, so that mounted folders can be given to it and runAsNonRoot can check it.
USER 10001:10001
WORKDIR /data
STOPSIGNAL SIGTERM
# Asks the daemon as `isthmus edge status` does, without its second of imports every half minute;
# one whose agent hangs goes on listening, and says so.
# A run over pictures ends by itself: give it `--no-healthcheck`.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python3", "-S", "-c", "import json, socket; s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect('/run/isthmus/control.sock'); s.sendall(b'{\"ask\": \"status\"}\\n'); a = json.loads(s.makefile().readline()); raise SystemExit(not (a['state'] in ('running', 'reloading') and a['agent']['answers']))"]
ENTRYPOINT ["isthmus", "edge"]
CMD ["--help"]
