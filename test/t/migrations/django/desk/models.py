from django.db import models


class Ticket(models.Model):
    state = models.CharField(max_length=20, default="open")

    class Meta:
        db_table = "tickets"


class Note(models.Model):
    ticket = models.ForeignKey(Ticket, models.CASCADE)
