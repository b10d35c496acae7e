"""The client library: trade with `Client`, watch with `PublicClient`."""

from wood.client.book import Book
from wood.client.client import Client
from wood.client.errors import (
    ClientClosed,
    ClientError,
    ConnectionLost,
    Disabled,
    LoginRefused,
    ProtocolError,
    QueryRefused,
    Rejected,
    SubscriptionRefused,
    Superseded,
)
from wood.client.market import PublicClient
from wood.client.replies import Instrument, OpenOrder
from wood.client.reports import (
    AllCanceled,
    Amended,
    Canceled,
    Disconnected,
    Fill,
    New,
    NotTaken,
    OrderReport,
    Refused,
    Report,
    ReportsLost,
    Resumed,
    Unknown,
)
from wood.client.requests import (
    AmendOrder,
    CancelAll,
    CancelOrder,
    Command,
    CreateOrder,
    MarketOrder,
)
from wood.client.tls import client_tls
from wood.client.updates import LevelChanged, Resynchronised, Trade, Update
from wood.model.orders import BUY, FOK, GTC, IOC, SELL, Side, TimeInForce

__all__ = [
    "BUY",
    "FOK",
    "GTC",
    "IOC",
    "SELL",
    "AllCanceled",
    "AmendOrder",
    "Amended",
    "Book",
    "CancelAll",
    "CancelOrder",
    "Canceled",
    "Client",
    "ClientClosed",
    "ClientError",
    "Command",
    "ConnectionLost",
    "CreateOrder",
    "Disabled",
    "Disconnected",
    "Fill",
    "Instrument",
    "LevelChanged",
    "LoginRefused",
    "MarketOrder",
    "New",
    "NotTaken",
    "OpenOrder",
    "OrderReport",
    "ProtocolError",
    "PublicClient",
    "QueryRefused",
    "Refused",
    "Rejected",
    "Report",
    "ReportsLost",
    "Resumed",
    "Resynchronised",
    "Side",
    "SubscriptionRefused",
    "Superseded",
    "TimeInForce",
    "Trade",
    "Unknown",
    "Update",
    "client_tls",
]
