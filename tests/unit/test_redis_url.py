"""REDIS_URL: every way to find Redis, and what is refused without telling a secret."""

import pytest

from outbox.errors import BadSetting
from process.redis.url import Form, RedisUrl, problems

SECRET = "swordfish"  # noqa: S105 - not to be told


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis://", RedisUrl(Form.SERVER, tls=False, hosts=(("localhost", 6379),))),
        ("redis://cache", RedisUrl(Form.SERVER, tls=False, hosts=(("cache", 6379),))),
        ("redis://cache:7/3", RedisUrl(Form.SERVER, tls=False, hosts=(("cache", 7),), db=3)),
        ("rediss://cache?db=3", RedisUrl(Form.SERVER, tls=True, hosts=(("cache", 6379),), db=3)),
        ("redis://[::1]:7/", RedisUrl(Form.SERVER, tls=False, hosts=(("::1", 7),))),
        ("unix:///run/a%20b.sock", RedisUrl(Form.SOCKET, tls=False, path="/run/a b.sock")),
        ("unix:///run/a?db=2", RedisUrl(Form.SOCKET, tls=False, path="/run/a", db=2)),
        (
            "redis+sentinel://a,b:7,[::1]:8/main/2",
            RedisUrl(
                Form.SENTINEL,
                tls=False,
                hosts=(("a", 26379), ("b", 7), ("::1", 8)),
                service="main",
                db=2,
            ),
        ),
        (
            "rediss+cluster://a:7000,b",
            RedisUrl(Form.CLUSTER, tls=True, hosts=(("a", 7000), ("b", 6379))),
        ),
    ],
)
def test_every_form_is_taken_apart(text: str, expected: RedisUrl) -> None:
    assert RedisUrl.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("redis://:p%40ss%2F@cache", {"password": "p@ss/"}),
        ("redis://user:a@b@cache", {"username": "user", "password": "a@b"}),
        ("redis://user@cache", {"username": "user"}),
        ("unix://user:secret@/run/a", {"username": "user", "password": "secret"}),
        ("unix:///run/a?username=u&password=p%26", {"username": "u", "password": "p&"}),
        ("redis://cache?socket_timeout=0.5", {"socket_timeout": 0.5}),
        (
            "rediss://cache?ssl_ca_certs=/ca.pem&ssl_check_hostname=False&ssl_cert_reqs=none",
            {"ssl_ca_certs": "/ca.pem", "ssl_check_hostname": False, "ssl_cert_reqs": "none"},
        ),
    ],
)
def test_credentials_and_options_are_for_the_client(text: str, options: dict[str, object]) -> None:
    assert RedisUrl.parse(text).options == options


def test_sentinels_may_have_a_password_of_their_own() -> None:
    url = RedisUrl.parse("redis+sentinel://u:p@a/main?sentinel_password=q&client_name=c")
    assert url.options == {"username": "u", "password": "p", "client_name": "c"}
    assert url.sentinel_options == {"password": "q"}


def test_passwords_stay_out_of_what_is_printed() -> None:
    url = RedisUrl.parse(f"redis+sentinel://u:{SECRET}@a/main?sentinel_password={SECRET}")
    assert SECRET not in repr(url)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "REDIS_URL is not set"),
        ("cache:6379", "it must begin with redis://"),
        ("http://cache", "it must begin with redis://"),
        (f"redis+sentinel+tls://:{SECRET}@a/main", "it must begin with redis://"),
        (f"redis://:{SECRET}@[::1", "no host and port"),
        (f"redis://:{SECRET}@cache:0", "no host and port"),
        (f"redis://:{SECRET}@cache:65536", "no host and port"),
        (f"redis://:{SECRET}@cache:port", "no host and port"),
        (f"redis://:{SECRET}@:6379", "no host and port"),
        (f"redis://:a/{SECRET}@cache", "percent-encoded"),
        (f"redis://:{SECRET}#@cache", "it must begin with redis://"),
        (f"redis://:a?{SECRET}@cache", "percent-encoded"),
        (f"redis://cache/{SECRET}", "the database is a number"),
        ("redis://cache/-1", "the database is a number"),
        ("redis://cache?db=x", "the database is a number"),
        ("redis://cache/1/2", "too much after the hosts"),
        ("redis://a,b", "several hosts are for redis+sentinel://"),
        ("unix://run/redis.sock", "three slashes"),
        (f"unix://:{SECRET}@", "three slashes"),
        ("redis+sentinel://a", "it ends with the service"),
        ("redis+sentinel:///main", "no host and port"),
        ("redis+cluster://", "no host and port"),
        ("redis+cluster://a,", "no host and port"),
        ("redis+cluster://a/1", "database 0 only"),
        ("redis://cache?retry_on_timeout=true", "the options after ? are"),
        (f"redis://cache?{SECRET}", "the options after ? are"),
        ("redis://cache?sentinel_password=p", "the options after ? are"),
        ("redis://cache?ssl_certfile=/a", "ssl_certfile needs TLS"),
        ("rediss://cache?ssl_certfile=", "ssl_certfile is empty"),
        ("rediss://cache?ssl_cert_reqs=maybe", "required, optional or none"),
        ("rediss://cache?ssl_check_hostname=maybe", "true or false"),
        ("redis://cache?socket_timeout=0", "number of seconds"),
        ("redis://cache?socket_timeout=soon", "number of seconds"),
    ],
)
def test_what_is_wrong_is_said_and_the_secret_is_not(text: str, said: str) -> None:
    [problem] = problems(text)
    assert problem.startswith("REDIS_URL is ")
    assert said in problem
    assert SECRET not in problem
    with pytest.raises(BadSetting):
        RedisUrl.parse(text)
