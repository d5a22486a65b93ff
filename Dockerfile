# zoovet on the processor, as a user without rights. From Docker Hub, Debian, PyPI and PyTorch's CPU wheels:
#   docker build -t zoovet .
#   docker run --rm --network none -v "$PWD:/work:ro" zoovet scan suspect.safetensors
# From PyPI alone, whose torch brings CUDA on x86: --build-arg TORCH_INDEX=https://pypi.org/simple
FROM python:3.11-slim-bookworm

# Triggers are sought, and zoos trained, by code that is compiled for the machine it runs on.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /src
COPY constraints.txt ./
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --constraint constraints.txt --extra-index-url "$TORCH_INDEX" torch setuptools

COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir --constraint constraints.txt --no-build-isolation '.[keras,bom,hub]'

RUN useradd --create-home zoovet
USER zoovet
WORKDIR /work
ENTRYPOINT ["zoovet"]
CMD ["--help"]
