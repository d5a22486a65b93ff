# zoovet on the processor, as a user without rights. From Docker Hub, Debian, PyPI and PyTorch's index of CPU wheels:
#   docker build -t zoovet .
#   docker run --rm --network none -v "$PWD:/work:ro" zoovet scan suspect.safetensors
#   docker run --rm -p 127.0.0.1:8765:8765 -e ZOOVET_SERVE_TOKEN zoovet serve --host 0.0.0.0
# From PyPI alone, whose torch brings CUDA on x86: --build-arg TORCH_INDEX=https://pypi.org/simple
FROM debian:bookworm-slim

# The compiler: triggers are sought, and zoos trained, by code that is compiled for the machine it runs on.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates gcc libc6-dev python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/zoovet
ENV PATH=/opt/zoovet/bin:$PATH

WORKDIR /src
COPY constraints.txt ./
# Of the release that both indexes have pip takes the CPU wheel: a version "+cpu" goes before the same without.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --constraint constraints.txt --extra-index-url "$TORCH_INDEX" torch setuptools

COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir --constraint constraints.txt --no-build-isolation '.[keras,bom,hub,s3,serve]'

RUN useradd --create-home zoovet
USER zoovet
WORKDIR /work
ENTRYPOINT ["zoovet"]
CMD ["--help"]
