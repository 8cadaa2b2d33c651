"""The payment gateway: somebody else's service, which is down at times. This one is down when it is told so."""

from shop import state


class GatewayDownError(Exception):
    """The gateway does not answer."""


def charge(order_id: str, cents: int) -> None:
    """Charge an order, once: the same order again changes nothing.

    Raises:
        GatewayDownError: The gateway is down; nothing was charged.
    """
    if state.client.exists("shop:gateway:down"):
        raise GatewayDownError
    state.client.set(f"shop:charge:{order_id}", cents, nx=True)


def take_down(seconds: float) -> None:
    """Let the gateway be down for so many seconds."""
    state.client.set("shop:gateway:down", 1, px=round(seconds * 1000))
