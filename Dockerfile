# PostgreSQL with petition_cas, on the official images:
#
#   docker build --tag petition_cas .
#   docker build --tag petition_cas:15 --build-arg TAG=15-bookworm .
#
# and, for CloudNativePG, an image volume with the extension alone, of the same
# release of Debian and major version of PostgreSQL as the server's image:
#
#   docker build --target volume --tag petition_cas-volume .

ARG TAG=18-trixie

FROM postgres:$TAG AS build
RUN apt-get update && apt-get install --yes --no-install-recommends \
        gcc libc6-dev make "postgresql-server-dev-$PG_MAJOR" \
    && rm -rf /var/lib/apt/lists/*
COPY . /source
RUN make -C /source -j2 && make -C /source install DESTDIR=/server \
    && make -C /source install DESTDIR=/volume datadir=/share pkglibdir=/lib docdir=/doc \
    && rm -r /volume/doc && install -D -m 644 /source/LICENSE /volume/licenses/petition_cas/LICENSE

FROM scratch AS volume
COPY --from=build /volume/ /

FROM postgres:$TAG
COPY --from=build /server/ /
