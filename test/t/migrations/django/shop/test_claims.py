# What docs/testing.md says of Django, where the ledger is a managed model.
import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.test import TestCase, TransactionTestCase

from shop.models import Item, Order, OrderFate


class Fixtures(TestCase):
    fixtures = ["orders.json"]

    def test_loaded(self):
        self.assertEqual(Order.objects.get(pk=1).fate.fate, "cancelled")
        self.assertEqual(OrderFate.objects.count(), 1)


class FixturesAfterFlush(TransactionTestCase):
    fixtures = ["orders.json"]

    def test_loaded(self):
        self.assertEqual(OrderFate.objects.count(), 1)

    def test_loaded_again(self):
        self.assertEqual(OrderFate.objects.count(), 1)
        call_command("loaddata", "orders.json", verbosity=0)
        self.assertEqual(OrderFate.objects.count(), 1)


class Serialized(TransactionTestCase):
    """What serialized_rollback does: the ledger's rows are loaded by UPDATE."""

    def test_refused(self):
        Order.objects.create(state="cancelled")
        contents = connection.creation.serialize_db_to_string()
        call_command("flush", verbosity=0, interactive=False)
        self.assertEqual(OrderFate.objects.count(), 0)
        with self.assertRaises(DatabaseError) as refused:
            connection.creation.deserialize_db_from_string(contents)
        self.assertEqual(refused.exception.__cause__.diag.sqlstate, "PF006")


@pytest.mark.django_db
@pytest.mark.parametrize("run", [1, 2])
def test_db(run):
    assert OrderFate.objects.count() == 0
    Order.objects.create(state="cancelled")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("run", [1, 2])
def test_transactional_db(run):
    assert OrderFate.objects.count() == 0
    Item.objects.create(order=Order.objects.create(state="cancelled"))
