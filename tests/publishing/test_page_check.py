"""The last look at a page finds everything that could run or ask for something."""

from __future__ import annotations

import pytest

from salesops_kit.publishing.page_check import link_prefix, page_problems

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}"><title>T</title>
<style>a {{ fill: url(#g); background: url(data:image/png;base64,AA==) }}</style></head>
<body><h1>T</h1><p>s3nt</p>{body}</body></html>"""
GOOD = """<a href="#x">x</a><a href="funnel/000001/tables.xlsx">t</a>
<img alt="c" src="data:image/png;base64,AA==">
<a href="https://crm.example.com/deal/7">7</a>&lt;script&gt; onclick= javascript:
<svg xmlns="http://www.w3.org/2000/svg"><title>t</title><use xlink:href="#m"/>
<path clip-path="url(#c)" d="M0"/>
<image xlink:href="data:image/png;base64,AA=="/></svg>"""
ALLOWED = ["https://crm.example.com/deal/"]


def check(body: str, policy: str = POLICY) -> list[str]:
    return page_problems(PAGE.format(policy=policy, body=body), "s3nt", allowed_links=ALLOWED)


def test_a_good_page() -> None:
    assert check(GOOD) == []


@pytest.mark.parametrize(
    "body",
    [
        "<script>1</script>",
        "<SCRIPT SRC=//x.example/a.js></SCRIPT>",
        "<svg><script>1</script></svg>",
        "<img src=x onerror=alert(1)>",
        "<svg/onload=alert(1)></svg>",
        '<a href="javascript:alert(1)">x</a>',
        '<a href="JaVa\tScript:alert(1)">x</a>',
        '<a href="&#106;avascript:alert(1)">x</a>',
        '<a href=" javascript:alert(1)">x</a>',
        '<svg><a xlink:href="javascript:alert(1)">x</a></svg>',
        '<a href="data:text/html,x">x</a>',
        '<a href="vbscript:x">x</a>',
        '<a href="https://evil.example/deal/">x</a>',
        '<a href="https://crm.example.com.evil.example/">x</a>',
        '<a href="//evil.example">x</a>',
        '<a href="\\\\evil.example">x</a>',
        '<img src="https://x.example/a.png">',
        '<img src="a.png">',
        '<img src="data:image/svg+xml,<svg/>">',
        '<img srcset="a.png 1x">',
        '<link rel="stylesheet" href="a.css">',
        '<link rel="stylesheet" href="https://x.example/a.css">',
        "<iframe srcdoc='x'></iframe>",
        "<object data='x'></object>",
        "<embed src='x'>",
        "<form action='x'></form>",
        "<base href='x'>",
        "<meta http-equiv='refresh' content='0;url=x'>",
        "<style>@import 'a.css';</style>",
        "<style>p { background: url(https://x.example) }</style>",
        "<p style='background: u\\72l(//x.example)'>x</p>",
        "<svg><animate attributeName='href' to='javascript:1'/></svg>",
        "<svg><foreignObject></foreignObject></svg>",
        "<video poster='x'></video>",
        "<h1>again</h1>",
        "<table><tr><td>",
        "</div>",
        "<div><table></div></table>",
        "</body></html><p>",
    ],
)
def test_a_bad_page(body: str) -> None:
    assert check(body)


@pytest.mark.parametrize(
    "policy", ["", "default-src 'self'", "default-src 'none'; script-src 'unsafe-inline'"]
)
def test_a_weak_policy(policy: str) -> None:
    assert check("", policy) == ["no policy that forbids scripts and requests"]


def test_what_must_be_there() -> None:
    assert page_problems(PAGE.format(policy=POLICY, body=""), "other") == [
        "the sentinel of this run is missing"
    ]
    assert "not one whole HTML document" in page_problems("<p>s3nt", "s3nt")
    cut = PAGE.format(policy=POLICY, body=GOOD)[:-20]
    assert "not one whole HTML document" in page_problems(cut, "s3nt", allowed_links=ALLOWED)


@pytest.mark.parametrize(
    "pattern", ["", "http://x/{id}", "https://{id}", "https:{id}", "javascript:{id}", "https://x"]
)
def test_a_link_pattern_must_name_a_host(pattern: str) -> None:
    assert link_prefix(pattern) == []
