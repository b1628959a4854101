# docker build -t glue-lit .                                          # for CPUs
# docker build -t glue-lit:cuda --build-arg BASE=nvidia/cuda:12.8.1-base-ubuntu24.04 \
#     --build-arg TORCH_INDEX=https://pypi.org/simple .               # for NVIDIA GPUs: PyPI's torch brings CUDA
# docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/work" glue-lit fit --config quickstart
# Volumes: /work has the runs, /cache models and tokens. On GPUs: --gpus all
ARG BASE=python:3.12-slim
FROM ${BASE} AS build
# Images of Python have it; the CUDA ones, which are Ubuntu's, don't. Its version is that of the base.
# hadolint ignore=DL3008
RUN command -v python3 || { apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv && rm -rf /var/lib/apt/lists/*; }
RUN python3 -m venv /opt/glue-lit
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY src src
COPY configs configs
COPY examples/reviews.csv examples/
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=onnx,peft,quickstart,report,tune
RUN /opt/glue-lit/bin/pip install --no-cache-dir --extra-index-url "${TORCH_INDEX}" -c constraints.txt ".[${EXTRAS}]"

FROM ${BASE}
# hadolint ignore=DL3008
RUN command -v python3 || { apt-get update \
    && apt-get install -y --no-install-recommends python3 && rm -rf /var/lib/apt/lists/*; }
COPY --from=build /opt/glue-lit /opt/glue-lit
ENV PATH=/opt/glue-lit/bin:$PATH USER=glue-lit HOME=/cache HF_HOME=/cache/huggingface GLUE_LIT_CACHE=/cache/glue-lit
RUN mkdir -m 1777 /cache /work
USER 1000:1000
WORKDIR /work
VOLUME /cache
ENTRYPOINT ["glue-lit"]
CMD ["--help"]
