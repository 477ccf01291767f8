"""Round-robin order of waiting requests, across visitors and addresses."""

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

Request = TypeVar("Request")
PER_ADDRESS = 4  # requests in a round; many visitors may share an address, as in a school


def sort_fairly(waiting: list[Request], sender: Callable[[Request], tuple[str, str]]) -> None:
    """Sort waiting requests by rounds: one request of each visitor, and PER_ADDRESS of each address.

    Call it after each new request is appended. The sort is stable, so earlier requests keep their order.
    `sender` returns the visitor and the address of a request.
    """
    of_visitor, of_address = Counter[str](), Counter[str]()
    rounds = {}
    for request in waiting:
        visitor, address = sender(request)
        rounds[id(request)] = max(of_visitor[visitor], of_address[address] // PER_ADDRESS)
        of_visitor[visitor] += 1
        of_address[address] += 1
    waiting.sort(key=lambda request: rounds[id(request)])  # stable
