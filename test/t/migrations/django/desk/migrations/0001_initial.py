import django.db.models.deletion
from django.contrib.postgres.operations import CreateExtension
from django.db import migrations, models


def add(apps, schema_editor):
    apps.get_model("desk", "Ticket").objects.create(id=100, state="closed")


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        CreateExtension("petition_cas"),
        migrations.CreateModel("Ticket", [("id", models.BigAutoField(primary_key=True)),
                                          ("state", models.CharField(default="open", max_length=20))], {"db_table": "tickets"}),
        migrations.CreateModel("Note", [("id", models.BigAutoField(primary_key=True)),
                                        ("ticket", models.ForeignKey("desk.Ticket", django.db.models.deletion.CASCADE))]),
        migrations.RunSQL("""SELECT govern('tickets', '{"open": ["closed", "lost"]}', history => true)"""),
        migrations.RunPython(add),
    ]
