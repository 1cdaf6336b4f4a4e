# A project in which the ledger is no model.
from settings import *

INSTALLED_APPS = ["desk"]
