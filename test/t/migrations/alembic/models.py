# The tables as the last migration of the page leaves them, without ledger and history.
from sqlalchemy import BigInteger, Column, MetaData, Table, Text

metadata = MetaData()
Table("orders", metadata, Column("id", BigInteger, primary_key=True), Column("status", Text, nullable=False), Column("remark", Text),
      Column("carrier", Text))
