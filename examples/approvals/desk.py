#!/usr/bin/python3
"""The approval desk: HTTP on 127.0.0.1, in front of the tables of approvals.sql.

    desk.py [PORT]              # without a port: one that is free

The database is the one that libpq's environment names (PGHOST, PGDATABASE ...);
the role should be "desk". There is no login: whoever sends a decision says who
it is. An application takes that from its own session.

GET  /                          the page
GET  /requests?filter=FILTER    the requests that a filter selects, with their roster
GET  /requests/ID               one of them, and who decided it
POST /requests                  an agent files one
POST /requests/ID/revision      an agent revises one
POST /requests/ID/decision      a person decides one, as it was seen
POST /decisions                 a person decides a whole list, as it was seen

What the database refuses is told with the DETAIL of its error as the body, to
which the SQLSTATE and the message are added.
"""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
from psycopg.rows import dict_row

Json = dict[str, Any]

PAGE = Path(__file__).with_name("index.html")
LARGEST_BODY = 10_000_000
TRIES = 3

STATUS = {
    "PF001": HTTPStatus.CONFLICT,               # somebody else decided it meanwhile
    "PF002": HTTPStatus.CONFLICT,               # somebody else had decided it
    "PF003": HTTPStatus.UNPROCESSABLE_ENTITY,   # there is no such decision
    "PF004": HTTPStatus.NOT_FOUND,
    "PF005": HTTPStatus.CONFLICT,               # the list has changed
    "PF006": HTTPStatus.CONFLICT,               # what was decided cannot be revised
    "PF007": HTTPStatus.PRECONDITION_FAILED,    # it was revised since it was seen
}
FILTER_ERRORS = {"42601", "42703", "42883", "54000"}

# What a client is shown. Numbers travel as text: JavaScript would round them.
COLUMNS = """
    r.id::text, r.agent, r.tool, jsonb_pretty(r.arguments) AS arguments, r.amount::text, r.note,
    r.state::text, evidence_hash(r) AS seen_hash,
    f.assigned_by, to_json(f.assigned_at) #>> '{}' AS assigned_at, f.reason
"""


class Refused(Exception):
    """What is refused here, before the database is asked or after it answered."""

    def __init__(self, status: HTTPStatus, body: Json) -> None:
        super().__init__(body)
        self.status = status
        self.body = body


# --- What the desk does -----------------------------------------------------


@contextmanager
def transaction(actor: str | None = None) -> Iterator[psycopg.Cursor[Json]]:
    """One transaction, whose fates are assigned by actor, on a connection of its
    own: plain, and fast enough for people. A pool would do as well, since the
    setting ends with the transaction."""
    with psycopg.connect(row_factory=dict_row) as connection, connection.cursor() as cursor:
        if actor is not None:
            cursor.execute("SELECT set_config('petition_cas.actor', %s, true)", [actor])
        yield cursor


def list_requests(selection: str) -> Json:
    """The requests that a filter selects, and their roster: what a decision on
    all of them has to come with."""
    with transaction() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")  # one snapshot for both
        cursor.execute(
            "SELECT resolved_ids AS ids, roster_hash AS hash"
            " FROM resolve_roster('requests_as_seen', %s, key_column => 'seen')",
            [selection],
        )
        roster = cursor.fetchone() or {}
        cursor.execute(
            f"SELECT {COLUMNS} FROM requests r LEFT JOIN requests_fates f USING (id)"
            " WHERE id = ANY (SELECT split_part(seen, ' ', 1)::bigint FROM unnest(%s::text[]) seen) ORDER BY id",
            [roster["ids"]],
        )
        return {"filter": selection, **roster, "requests": cursor.fetchall()}


def show_request(number: str) -> Json:
    with transaction() as cursor:
        cursor.execute(
            f"SELECT {COLUMNS} FROM requests r LEFT JOIN requests_fates f USING (id) WHERE id = %s",
            [number],
        )
        return the_row(cursor)


def file_request(body: Json) -> Json:
    with transaction() as cursor:
        cursor.execute(
            "INSERT INTO requests (agent, tool, arguments, amount, note)"
            " VALUES (%s, %s, %s, nullif(%s, '')::numeric, %s) RETURNING id::text",
            [text(body, name) for name in ("agent", "tool", "arguments", "amount", "note")],
        )
        return the_row(cursor)


def revise_request(number: str, body: Json) -> Json:
    """Revises a pending request. Of one that is decided, the guard refuses it."""
    with transaction() as cursor:
        cursor.execute(
            "UPDATE requests SET arguments = %s, amount = nullif(%s, '')::numeric, note = %s"
            " WHERE id = %s RETURNING id::text",
            [*(text(body, name) for name in ("arguments", "amount", "note")), number],
        )
        return the_row(cursor)


def decide(number: str, body: Json) -> Json:
    """Decides a request if it still holds what was seen."""
    with transaction(given(body, "actor")) as cursor:
        cursor.execute(
            "SELECT id::text, state::text FROM compare_and_swap(null::requests, %s, 'pending', %s,"
            " reason => %s, seen_hash => %s, request_id => %s)",
            [number, *(given(body, name) for name in ("fate", "reason", "seen_hash", "request_id"))],
        )
        return the_row(cursor)


def decide_all(body: Json) -> Json:
    """Decides all requests that a filter selects, if these are the ones that were
    seen and hold what was seen: all of them, or none."""
    try:
        return claim_and_decide(body)
    except psycopg.Error as error:
        # A list of what is pending has changed by the very decision, if this is
        # a call that is sent again. The claim has waited for the first one.
        if error.sqlstate == "PF005" and had_decided(body):
            return {"decided": len(seen_ids(body))}
        raise


def claim_and_decide(body: Json) -> Json:
    with transaction(given(body, "actor")) as cursor:
        cursor.execute(
            """
            SELECT key, outcome, current_state
            FROM compare_and_swap_many(null::requests, (
                    SELECT array(SELECT split_part(seen, ' ', 1) FROM unnest(resolved_ids) AS seen)
                    FROM claim_roster('requests_as_seen', %s, %s::text[], %s, key_column => 'seen')),
                'pending', %s, reason => %s, request_id => %s)
            """,
            [
                text(body, "filter"), seen_ids(body),
                *(given(body, name) for name in ("hash", "fate", "reason", "request_id")),
            ],
        )
        outcomes = cursor.fetchall()
        lost = [outcome for outcome in outcomes if outcome["outcome"] != "assigned"]
        if lost:  # the filter also selects what is decided
            raise Refused(HTTPStatus.CONFLICT, {"message": "some of these are decided already", "lost": lost})
        return {"decided": len(outcomes)}


def had_decided(body: Json) -> bool:
    """Whether this very decision, on what was seen, is in the ledger already."""
    with transaction() as cursor:
        cursor.execute(
            "SELECT id || ' ' || evidence_hash AS seen FROM requests_fates WHERE request_id = %s AND fate = %s",
            [given(body, "request_id"), given(body, "fate")],
        )
        return {row["seen"] for row in cursor} == set(seen_ids(body))


def repeated(decision: Callable[[], Json]) -> Json:
    """Makes a decision, and makes it again if the connection went, the server
    shut down, or the transaction was the victim of another one. A decision that
    went through is not made twice, for it has a request_id. No other error is
    worth a repetition: the answer to a lost decision is a look at the row."""
    for attempt in range(1, TRIES):
        try:
            return decision()
        except psycopg.Error as error:
            if not passing(error):
                raise
            time.sleep(0.2 * attempt)
    return decision()


def passing(error: psycopg.Error) -> bool:
    """Whether an error is of class 40, 08 or 57P. libpq gives those of a broken
    connection no SQLSTATE."""
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError)
    return error.sqlstate.startswith(("40", "08", "57P"))


# --- What comes in and what goes out ----------------------------------------


def text(body: Json, name: str) -> str:
    """A member of a body that has to be a text. A null in place of what was seen
    would decide whatever there is."""
    value = body.get(name)
    if not isinstance(value, str) or "\0" in value:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, {"message": f"{name} has to be a text"})
    return value


def given(body: Json, name: str) -> str:
    """The same, of one that may not be empty."""
    value = text(body, name)
    if not value.strip():
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, {"message": f"{name} is missing"})
    return value


def seen_ids(body: Json) -> list[str]:
    ids = body.get("ids")
    if not isinstance(ids, list) or not ids:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, {"message": "ids has to be a list of what was seen"})
    return [text({"ids": one}, "ids") for one in ids]


def number_in(pattern: str, path: str) -> str:
    """The number of a request in a path; none is empty."""
    found = re.fullmatch(pattern, path)
    return found[1] if found else ""


def the_row(cursor: psycopg.Cursor[Json]) -> Json:
    row = cursor.fetchone()
    if row is None:
        raise Refused(HTTPStatus.NOT_FOUND, {"message": "there is no such request"})
    return row


def told(error: psycopg.Error) -> tuple[HTTPStatus, Json]:
    """What the client is told of an error: its DETAIL, where that is JSON, with
    the SQLSTATE and the message."""
    sqlstate = error.sqlstate or ""
    body: Json = {}
    if (error.diag.message_detail or "").startswith("{"):
        body = json.loads(error.diag.message_detail or "")
    body |= {"sqlstate": sqlstate, "message": error.diag.message_primary or str(error)}
    if passing(error):
        return HTTPStatus.SERVICE_UNAVAILABLE, body
    if sqlstate.startswith(("22", "23")) or sqlstate in FILTER_ERRORS:
        return HTTPStatus.UNPROCESSABLE_ENTITY, body
    return STATUS.get(sqlstate, HTTPStatus.INTERNAL_SERVER_ERROR), body


class Desk(BaseHTTPRequestHandler):
    """One HTTP request."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        number = number_in(r"/requests/([0-9]+)", url.path)
        if url.path == "/":
            self.send(HTTPStatus.OK, "text/html", PAGE.read_bytes())
        elif url.path == "/requests":
            self.answer(lambda: list_requests(parse_qs(url.query).get("filter", [""])[0]))
        elif number:
            self.answer(lambda: show_request(number))
        else:
            self.answer_none()

    def do_POST(self) -> None:
        revised = number_in(r"/requests/([0-9]+)/revision", self.path)
        decided = number_in(r"/requests/([0-9]+)/decision", self.path)
        if self.path == "/requests":
            self.answer(lambda: file_request(self.body()))
        elif self.path == "/decisions":
            self.answer(lambda: self.decided(decide_all))
        elif revised:
            self.answer(lambda: revise_request(revised, self.body()))
        elif decided:
            self.answer(lambda: self.decided(lambda body: decide(decided, body)))
        else:
            self.answer_none()

    def decided(self, decision: Callable[[Json], Json]) -> Json:
        body = self.body()
        return repeated(lambda: decision(body))

    def body(self) -> Json:
        """The object that was sent. It has to say that it is JSON: a form of
        another site cannot, without being asked for permission first."""
        length = int(self.headers.get("Content-Length") or 0)
        if self.headers.get_content_type() != "application/json":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, {"message": "Content-Type has to be application/json"})
        if not 0 <= length <= LARGEST_BODY:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"message": "the body is too large"})
        try:
            body = json.loads(self.rfile.read(length))
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise Refused(HTTPStatus.BAD_REQUEST, {"message": "the body has to be a JSON object"})
        return body

    def answer(self, work: Callable[[], Json]) -> None:
        status, body = HTTPStatus.OK, {}
        try:
            self.check_host()
            body = work()
        except Refused as refused:
            status, body = refused.status, refused.body
        except psycopg.Error as error:
            status, body = told(error)
        self.send(status, "application/json", json.dumps(body).encode())

    def answer_none(self) -> None:
        self.send(HTTPStatus.NOT_FOUND, "application/json", b'{"message": "there is nothing here"}')

    def check_host(self) -> None:
        """A name that another site has pointed at this machine is refused."""
        if urlsplit("//" + self.headers.get("Host", "")).hostname not in ("127.0.0.1", "localhost"):
            raise Refused(HTTPStatus.FORBIDDEN, {"message": "this is for 127.0.0.1 alone"})

    def send(self, status: HTTPStatus, content_type: str, content: bytes) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", content_type + "; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header(
                "Content-Security-Policy",
                "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'",
            )
            self.end_headers()
            self.wfile.write(content)
        except ConnectionError:
            self.log_message("nobody waits for the answer any more")


def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    with ThreadingHTTPServer(("127.0.0.1", port), Desk) as server:
        print(f"http://127.0.0.1:{server.server_port}/", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
