# An image of wood: `docker build -t wood .`, then `docker run -p 7001:7001 -p 7002:7002 wood`.
# tests/test_containers.py runs these steps in a fresh folder and virtual environment.

FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY wood wood
# A wheel first, so that what is installed is what would be published. The environment is made without
# a pip of its own: nothing in it is needed to run but wood and its libraries. The wheel of graypy has
# its tests in it, under a name that is anybody's.
RUN pip wheel --no-cache-dir --disable-pip-version-check --no-deps --wheel-dir /wheels . \
    && python -m venv --without-pip /opt/wood \
    && pip --python /opt/wood/bin/python install --no-cache-dir --disable-pip-version-check /wheels/*.whl \
    && rm -r /opt/wood/lib/python3*/site-packages/tests

FROM python:3.11-slim-bookworm
COPY --from=build /opt/wood /opt/wood
ENV PATH=/opt/wood/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    WOOD_HOST=0.0.0.0 \
    WOOD_HEALTH=7011
EXPOSE 7001 7002 7011
# Nobody in particular: it owns no file and needs no entry in /etc/passwd.
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['WOOD_HEALTH'] + '/healthz', timeout=2)"]
ENTRYPOINT ["wood"]
CMD ["-s"]
