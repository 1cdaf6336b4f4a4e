# What docs/testing.md says of Django, where the ledger is no model. The first row is the migration's.
from django.core.management import CommandError
from django.db import connection
from django.test import TestCase, TransactionTestCase

from desk.models import Note, Ticket
from shop.testcases import GovernedTestCase


def fates():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM tickets_fates")
        return cursor.fetchone()[0]


class Undone(TestCase):
    def test_once(self):
        Ticket.objects.create(id=1, state="closed")
        self.assertEqual(fates(), 2)

    def test_twice(self):
        self.test_once()


class Serialized(GovernedTestCase):
    serialized_rollback = True

    def test_once(self):
        Note.objects.create(ticket=Ticket.objects.create(id=1, state="closed"))
        self.assertEqual(fates(), 2)

    def test_twice(self):
        self.test_once()


class Emptied(GovernedTestCase):
    def test_once(self):
        Ticket.objects.all()
        Note.objects.create(ticket=Ticket.objects.create(id=1, state="closed"))

    def test_twice(self):
        self.assertEqual(fates(), 0)
        self.test_once()


class NotFlushed(TransactionTestCase):
    def test_flush(self):
        Ticket.objects.create(id=1, state="closed")
        with self.assertRaisesMessage(CommandError, "couldn't be flushed") as refused:
            self._fixture_teardown()
        self.assertEqual(refused.exception.__cause__.__cause__.diag.sqlstate, "PF006")

    def _fixture_teardown(self):
        try:
            super()._fixture_teardown()
        except CommandError:
            with connection.cursor() as cursor:
                cursor.execute("TRUNCATE tickets, tickets_fates, tickets_history CASCADE")
            raise
