"""The demo on SQLAlchemy: `python3 demo_sqlalchemy.py`."""

import sqlalchemy
from sqlalchemy import BigInteger, Column, Numeric, Text
from sqlalchemy.orm import Session, declarative_base

from petition_cas import AlreadyFated
from petition_cas_sqlalchemy import swap

Base = declarative_base()


class Payment(Base):
    __tablename__ = "payments"

    id = Column(BigInteger, primary_key=True)
    state = Column(Text)
    payee = Column(Text)
    amount = Column(Numeric)


driver = "psycopg2" if sqlalchemy.__version__.startswith("1.") else "psycopg"
engine = sqlalchemy.create_engine(f"postgresql+{driver}://")

with Session(engine) as session, session.begin():
    payment = session.get(Payment, 11)
    payment.amount = 120
    swap(session, "payments", 11, "pending", "approved")
    print(f"swap: {payment.state}, {payment.amount}")
    try:
        with session.begin_nested():
            swap(session, "payments", 11, "pending", "rejected")
    except AlreadyFated as error:
        print(f"again: AlreadyFated, found {error.current_state}")
    swap(session, "payments", 12, "pending", "rejected")

with Session(engine) as session:
    print(f"committed: {session.get(Payment, 11).state}, {session.get(Payment, 12).state}")
