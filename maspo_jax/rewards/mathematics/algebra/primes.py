"""Prime factors of rationals, as far as trial division finds them."""

import functools
import math

LIMIT = 2_000  # primes tried
MOST_BITS = 400  # of an integer that is tried at all


@functools.lru_cache(maxsize=4096)
def factored(value):
    """Returns the (prime, exponent) pairs of a positive rational, or None."""
    powers = _factored_integer(value.numerator)
    below = _factored_integer(value.denominator)
    if powers is None or below is None:
        return None
    return (*powers, *((prime, -power) for prime, power in below))


def _factored_integer(number):
    powers = []
    if number.bit_length() > MOST_BITS:
        return None
    for prime in _PRIMES:
        if prime * prime > number:
            break
        count = 0
        while number % prime == 0:
            number, count = number // prime, count + 1
        if count:
            powers.append((prime, count))
    if number == 1:
        return powers
    if number < _PRIMES[-1] ** 2:
        return [*powers, (number, 1)]
    return None


def _sieve(limit):
    found = [True] * limit
    for number in range(2, math.isqrt(limit) + 1):
        if found[number]:
            found[number * number :: number] = [False] * len(
                found[number * number :: number]
            )
    return [number for number in range(2, limit) if found[number]]


_PRIMES = _sieve(LIMIT)
