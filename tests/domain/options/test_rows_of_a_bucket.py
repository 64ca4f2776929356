"""Rows of a bucket: a hash of what they say, and of each ticker's, without hashing any of them twice."""

from __future__ import annotations

from domain.options.profile import Rows
from tests.testkit import bucket_rows as make


def test_a_tickers_rows_have_the_hash_of_rows_that_came_alone() -> None:
    whole = make.bucket().rows
    alone = make.bucket(tickers=("QQQ",)).rows
    assert whole.of("QQQ").content_hash == alone.content_hash != whole.content_hash


def test_a_row_is_hashed_once_however_often_its_bucket_is_cut() -> None:
    whole = make.bucket().rows
    known = [row.profile.digest() for row in whole.rows]
    assert all(row.profile.digest() is digest for row, digest in zip(whole.rows, known, strict=True))
    assert Rows("again", whole.rows).content_hash == make.bucket().rows.content_hash
