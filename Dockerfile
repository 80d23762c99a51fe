# A worker image for CPU. For CUDA, start from an image that carries a matching torch.
FROM python:3.12-slim
WORKDIR /opt/headrace
COPY pyproject.toml setup.py README.md LICENSE ./
COPY engine engine
COPY jobs jobs
COPY kernels kernels
COPY schemas schemas
COPY worker worker
RUN pip install --no-cache-dir .
ENTRYPOINT ["headrace"]
