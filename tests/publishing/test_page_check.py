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


@pytest.mark.parametrize(
    "body",
    [
        '<meta http-equiv="refresh" http-equiv="" content="0;url=http://x.example">',
        '<a href="javascript:alert(1)" href="#">x</a>',
        '<img src="https://x.example/a.png" src="data:image/png;base64,AA==">',
        '<noscript><p title="</noscript><meta http-equiv=refresh content=0>">x</p></noscript>',
        '<textarea><p title="</textarea><img src=x onerror=alert(1)>">x</p></textarea>',
        "<td>Beta <!-- draft</td>",
        "<!--><img src=x onerror=alert(1)>-->",
        "<!---><img src=x onerror=alert(1)>-->",
        "<!-- a --!><img src=x onerror=alert(1)> -->",
        "<![CDATA[><img src=x onerror=alert(1)>]]>",
        "<svg><style><img src=x onerror=alert(1)></style></svg>",
        "<style/><p>the rest</p>",
        "<details/>",
        "<div hidden/>",
        "<p title='x>the rest</p>",
        "<article hidden>",
        "<template>",
        "<select><option>a</select>",
        "<plaintext>",
        "</main></body></html><p>b</p>",
        '<svg><path fill="url(https://x.example/a)"/></svg>',
        '<svg><use href="other.svg#a"/></svg>',
        '<svg><image href="rel.png"/></svg>',
    ],
)
def test_what_a_browser_would_read_otherwise_is_refused(body: str) -> None:
    assert check(body)


@pytest.mark.parametrize(
    "body",
    [
        "<p>1 < 2 and 3 > 2<p>another<br/><hr>",
        "<ul><li>a<li>b</ul><table><thead><tr><th>x<tbody><tr><td>1<td>2</table>",
        "<!-- a plain comment --><style>p{fill:url( #g )}</style>",
        '<svg viewBox="0 0 1 1"><title>t</title><g><path d="M0"/></g></svg>',
        "<input disabled type=checkbox checked>",
    ],
)
def test_plain_markup_passes(body: str) -> None:
    assert check(body) == []
