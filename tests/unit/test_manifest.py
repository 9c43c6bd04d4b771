"""Which manifests are handed on."""

from __future__ import annotations

import pytest

from viewer.manifest import Cdn, Verdict

ORIGIN = Cdn.parse("https://cdn.example.com")
BELOW = Cdn.parse("https://CDN.example.com:8443/video/")


@pytest.mark.parametrize(
    "url",
    [
        "https://cdn.example.com/videos/1/master.m3u8",
        "https://cdn.example.com:443/a.m3u8",
        "HTTPS://CDN.EXAMPLE.com/a.m3u8?token=%2F..%2F#t=1",
        "https://cdn.example.com/a/..b/é.m3u8",
    ],
)
def test_a_manifest_on_the_cdn_is_handed_on(url: str) -> None:
    assert ORIGIN.verdict(url) is Verdict.FINE


@pytest.mark.parametrize("url", [None, ""])
def test_an_absent_manifest_is_missing(url: str | None) -> None:
    assert ORIGIN.verdict(url) is Verdict.MISSING


@pytest.mark.parametrize(
    "url",
    [
        "http://cdn.example.com/a.m3u8",
        "//cdn.example.com/a.m3u8",
        " https://cdn.example.com/a.m3u8",
        "javascript:alert(1)//https://cdn.example.com/",
        "https:/cdn.example.com/a.m3u8",
    ],
)
def test_a_manifest_without_https_is_refused(url: str) -> None:
    assert ORIGIN.verdict(url) is Verdict.NOT_HTTPS


@pytest.mark.parametrize(
    "url",
    [
        "https://cdn.example.com.evil.test/a.m3u8",
        "https://cdn.example.community/a.m3u8",
        "https://evil.test/https://cdn.example.com/a.m3u8",
        "https://cdn.example.com@evil.test/a.m3u8",
        "https://user:pass@cdn.example.com/a.m3u8",
        "https://evil.test#@cdn.example.com/a.m3u8",
        "https://evil.test?@cdn.example.com/a.m3u8",
        "https://evil.test\\@cdn.example.com/a.m3u8",
        "https://cdn.example.com\\@evil.test/a.m3u8",
        "https://cdn.example.com\\.evil.test/a.m3u8",
        "https://cdn.example.com:8443/a.m3u8",
        "https://cdn.example.com:/a.m3u8",
        "https://cdn.example.com:0/a.m3u8",
        "https://cdn.example.com:99999/a.m3u8",
        "https://cdn.example.com./a.m3u8",
        "https://cdn%2eexample.com/a.m3u8",
        "https://[::1]/a.m3u8",
        "https://cdn.example.com",
        "https://cdn.example.com?a.m3u8",
        "https://cdn.example.com/a b.m3u8",
        "https://cdn.example.com/a.m3u8\n",
        "https://cdn.example.com/a\t.m3u8",
        "https://cdn.example.com/\x00a.m3u8",
        "https:///cdn.example.com/a.m3u8",
        "https://сdn.example.com/a.m3u8",  # noqa: RUF001 - a Cyrillic letter
    ],
)
def test_a_manifest_elsewhere_is_refused_whatever_it_looks_like(url: str) -> None:
    assert ORIGIN.verdict(url) is Verdict.OFF_CDN


def test_a_base_url_may_have_a_port_and_a_path() -> None:
    assert BELOW.verdict("https://cdn.example.com:8443/video/1.m3u8") is Verdict.FINE
    for url in (
        "https://cdn.example.com/video/1.m3u8",
        "https://cdn.example.com:8443/videos/1.m3u8",
        "https://cdn.example.com:8443/video",
        "https://cdn.example.com:8443/video/../1.m3u8",
        "https://cdn.example.com:8443/video/%2E./1.m3u8",
    ):
        assert BELOW.verdict(url) is Verdict.OFF_CDN


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://cdn.example.com",
        "cdn.example.com",
        "https://",
        "https://user@cdn.example.com",
        "https://cdn.example.com/?a",
        "https://cdn.example.com/#a",
        "https://cdn.example.com/../a",
    ],
)
def test_what_is_no_base_url_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="HTTPS"):
        Cdn.parse(text)
