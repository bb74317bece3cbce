"""Templates that misbehave, and every operation a template has for text: same as jinja2's, nothing trusted that is not."""

import functools
import resource
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from edgerun.errors import TemplateError
from edgerun.text import template_budget
from edgerun.text.quoted import pieces, quote_all
from edgerun.text.template import ChatTemplate
from edgerun.text.template_budget import FREE_MEMORY, Budget
from edgerun.text.template_text import percent

USER = [{"role": "user", "content": "hi"}]
GROW = "{%% set ns = namespace(x=%s) %%}{%% for i in range(90) %%}{%% set ns.x = %s %%}{%% endfor %%}{{ %s }}"

TOO_MUCH = {
    "repeat": "{{ 'a' * 10**9 }}",
    "repeat list": "{{ [1] * 10**9 }}",
    "repeat tuple": "{{ 10**9 * (1,) }}",
    "power": "{{ 2 ** (10**9) }}",
    "square": GROW % ("9", "ns.x * ns.x", "ns.x"),
    "range": "{% for i in range(10**9) %}x{% endfor %}",
    "nested loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% for k in range(99999) %}{% endfor %}{% endfor %}{% endfor %}",
    "loops that filter": "{% for i in range(99999) %}{% for j in range(99999) if j < 0 %}{% endfor %}{% endfor %}",
    "selecting": "{% for i in range(99999) %}{{ range(99999) | select('equalto', -1) | list }}{% endfor %}",
    "percent width": "{{ '%1000000000s' % 'a' }}",
    "percent digits": "{{ '%.1000000000f' % 1 }}",
    "percent star": "{{ '%*d' % (1000000000, 1) }}",
    "format width": "{{ '{:1000000000}'.format('a') }}",
    "format nested width": "{{ '{:{}}'.format('a', 10**9) }}",
    "format filter": "{{ '%1000000000s' | format('a') }}",
    "center": "{{ 'a' | center(10**9) }}",
    "ljust": "{{ 'a'.ljust(10**9) }}",
    "zfill": "{{ 'a'.zfill(10**9) }}",
    "indent": "{{ 'a\n\nb' | indent(10**9, true, true) }}",
    "batch": "{{ [1] | batch(10**9, 'a') | list }}",
    "slice": "{{ [1] | slice(10**9, 'a') | list }}",
    "round": "{{ 1.5 | round(10**9, 'ceil') }}",
    "replace": "{% set a = 'a' * 1000000 %}{{ a.replace('a', a) }}",
    "replace nothing": "{% set a = 'a' * 1000000 %}{{ a.replace('', a) }}",
    "replace filter": "{% set a = 'a' * 1000000 %}{{ a | replace('a', a) }}",
    "join": "{% set a = 'a' * 1000000 %}{{ a.join(['x'] * 10000) }}",
    "join filter": "{% set a = 'a' * 1000000 %}{{ (['x'] * 10000) | join(a) }}",
    "double ~": GROW % ("'aa'", "ns.x ~ ns.x", "ns.x"),
    "double +": GROW % ("'aa'", "ns.x + ns.x", "ns.x"),
    "double macro": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% else %}xxxxxxxxxxxxxxxx{% endif %}{% endmacro %}{{ f(60) }}",
    "laughs list": GROW % ("['a']", "[ns.x, ns.x]", "ns.x | tojson"),
    "laughs tuple": GROW % ("()", "(ns.x, ns.x)", "{ns.x: 1}"),
    "laughs dict": GROW % ("{}", "{'a': ns.x, 'b': ns.x}", "ns.x"),
    "laughs dict()": GROW % ("{}", "dict(a=ns.x, b=ns.x)", "ns.x"),
    "laughs sum": GROW % ("[1]", "ns.x + ns.x", "ns.x | length"),
    "laughs text": GROW % ("'a' * 1000000", "[ns.x] * 2", "ns.x | string"),
    "list": "{% set a = 'a' * 9000000 %}{{ a | list | length }}",
    "split": "{% set a = 'a ' * 7000000 %}{{ a.split() | length }}",
    "split at": "{% set a = 'a ' * 7000000 %}{{ a.split(' ') | length }}",
    "splitlines": "{% set a = '\r' * 15000000 %}{{ a.splitlines() | length }}",
    "title": "{% set a = 'a ' * 7000000 %}{{ a | title | length }}",
    "hold": "{% set a = 'a' * 1000000 %}" + GROW % ("[]", "ns.x + [a ~ i]", "ns.x"),
    "hold slices": "{% set a = 'a' * 1000000 %}" + "".join(f"{{% set b{at} = a[1:] %}}" for at in range(100)),
    "sum of lists": "{{ ([[1] * 1000] * 1000) | sum(start=[]) | length }}",
    "json indent": "{{ [[[1]]] | tojson(indent=1000000000) }}",
    "json separators": "{{ (range(1000) | list) | tojson(separators=['a' * 1000000, 'b']) }}",
    "clock": "{{ strftime_now('%1000000000Y') }}",
    "int": "{{ ('f' * 1000000) | int(base=16) }}",
    "digits": "{{ " + "9" * 5000 + " }}",
    "macro recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "loop recursion": "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "block recursion": "{% block a %}{{ self.a() }}{% endblock %}",
    "deep list": "{% set ns = namespace(x=[]) %}{% for i in range(50000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
    "deep source": "{{ " + "(" * 20000 + "1" + ")" * 20000 + " }}",
    "long sum": "{{ 1" + "+1" * 9000 + " }}",
    "nested ifs": "{% if a %}" * 500 + "{% endif %}" * 500,
    "nested fors": "{% for a in b %}" * 50 + "{% endfor %}" * 50,
    "many tokens": "{{a}}" * 20000,
    "open": "{" * 200000,
}
FORBIDDEN = {
    "class": "{{ ''.__class__.__mro__ }}",
    "attr": "{{ (''|attr('__class__')).x }}",
    "format": "{{ '{0.__class__.x}'.format('') }}",
    "format_map": "{{ '{a}'.format_map({'a': 1}) }}",
    "globals": "{{ raise_exception.__globals__.x }}",
    "init": "{{ cycler.__init__.__globals__ }}",
    "self": "{{ self._TemplateReference__context.x }}",
    "generator": "{{ (messages | map('upper')).throw(1) }}",
    "encode": "{{ 'x'.encode() }}",
    "lipsum": "{{ lipsum(100) }}",
    "include": "{% include 'x' %}",
    "import": "{% import 'x' as y %}",
    "extends": "{% extends 'x' %}",
    "autoescape": "{% autoescape true %}{{ messages[0].content }}{% endautoescape %}",
    "append": "{{ messages.append(1) }}",
    "update": "{{ messages[0].update(a=1) }}",
    "assign": "{% set messages[0].content = 1 %}",
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_too_much_ends_in_time_and_in_one_line(name, monkeypatch):
    monkeypatch.setattr(template_budget, "SECONDS", 0.3)
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TemplateError) as caught:
        ChatTemplate(TOO_MUCH[name]).render(USER)
    assert time.process_time() - start < 1.3
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 200
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", FORBIDDEN)
def test_forbidden_things(name):
    with pytest.raises(TemplateError):
        ChatTemplate(FORBIDDEN[name]).render(USER)


def test_a_long_chat_is_not_too_much():
    source = "{% set ns = namespace(t='') %}{% for m in messages %}{% set ns.t = ns.t ~ m.content | trim ~ '\n' %}{% endfor %}{{ ns.t }}"
    messages = [{"role": "user", "content": "word " * 400}] * 300
    assert len(ChatTemplate(source).render(messages).text) == 300 * 2000
    huge = [{"role": "user", "content": "x" * (FREE_MEMORY + 1)}]
    assert len(ChatTemplate("{{ messages[0].content.split('y')[-1] | trim }}").render(huge).text) == FREE_MEMORY + 1


EXPRESSIONS = r"""
a + '<' + b
a ~ '<' ~ 1 ~ b
a * 2
'%s<%5s>%%' % (a, b)
'%(x)s<' % {'x': a}
'%r %d' % (a, 3)
'%s' | format(a)
'{}<{!r:>9}{x[0]}'.format(a, b, x=a)
'{0[0]}{1:*^9}{2:{3}}'.format([a], b, 3.14159, '.2f')
a | trim
a.strip()
a.lstrip('Q ')
a | upper
a | lower
a | capitalize
a | title
a | replace('Q', '<')
'<Q>' | replace('Q', b)
a.replace('Z', b, 1)
a.replace('', '-')
[a, '<', b] | join
[a, b] | join('<')
'<'.join([a, b])
a.join(['<', '<'])
[m, m] | join(',', attribute='c')
a.split()
a.split('Z')
a.split('Z')[-1]
a.rsplit(None, 1)
a.partition('Z')
a.splitlines()
a[1:]
a[::-1]
a[0]
a[-1] ~ '<'
a | first
a | last
a | reverse
a | list
a | tojson
{'k': a, 'l': [b, 1, none]} | tojson
[a] | tojson(indent=2)
{'k': a} | string
[a, b]
a | indent(2)
(a ~ '\n<' ~ b) | indent(2, true)
a | center(30)
a.ljust(30) ~ '<'
a.zfill(30)
a | default('<')
none | default(b, true)
a | truncate(5, true, '<', 0)
a | wordcount
a | length
a == b
a in b
'Q' in a
a is string
a | urlencode
a | e
(a | e) + '<'
('<' | safe) + a
a | safe ~ '<'
a | safe + '<'
[b, a] | sort | join('<')
[a, b] | unique | list
[a, b] | min
m.c
m['c']
m.get('c') ~ '<'
m | items | list
m | dictsort
m.keys() | list
[m, m] | map(attribute='c') | list
[a, b] | map('upper') | join
[a, b] | select('equalto', a) | list
[m] | selectattr('c', 'equalto', a) | list
[m] | groupby('c') | list
[a, b, a] | batch(2, '<') | list
[a, b] | slice(2) | list
a.count('Q')
a.startswith('Q')
a.removeprefix('Q')
a.removesuffix(' ')
a | int(7)
'5' | int
[1, 2.5] | sum
3 | round
-7 // 2
7 % 3
2 ** 5
1 < 2 < 3
not a
a if b else '<'
range(5) | list
dict(x=a)
namespace(x=a).x
joiner('<')() ~ a
cycler(a, b).next()
(a, b)
[a, b][1:]
"""

STATEMENTS = [
    "{% for c in a %}{{ c }}<{% endfor %}",
    "{% set x %}<{{ a }}>{% endset %}{{ x | upper }}{{ x | length }}",
    "{% filter upper %}<{{ a }}>{% endfilter %}",
    "{% macro f(x, y='<') %}{{ y }}{{ x }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(a, b, a, k=b) | trim }}{{ f('<') }}",
    "{% macro f() %}<{{ caller(b) }}{% endmacro %}{% call(x) f() %}{{ x }}{{ a }}{% endcall %}",
    "{% for x in [a, b] if x != a %}{{ loop.index }}{{ x }}{{ loop.last }}{{ loop.cycle('<', a) }}{% else %}none{% endfor %}",
    "{% for k, v in m.items() %}<{{ k }}={{ v }}>{% endfor %}",
    "{% for x in [[a], [[b]]] recursive %}{% if x is string %}{{ x }}{% else %}<{{ loop(x) }}{% endif %}{% endfor %}",
    "{% block t %}<{{ a }}>{% endblock %}{{ self.t() }}",
    "{% set ns = namespace(t='<') %}{% for x in [a, b] %}{% set ns.t = ns.t + x %}{% endfor %}{{ ns.t }}",
    "{% with x = a %}{{ x }}<{% endwith %}{{ x is defined }}",
    "{% if a and 'Q' in a %}<{{ a | default('') }}{% elif b %}{% endif %}",
]
SOURCES = [*STATEMENTS, *("{{ " + expression + " }}" for expression in EXPRESSIONS.strip().splitlines())]
THEIRS = st.text("QZ <\n", max_size=8)


@functools.cache
def compiled(source):
    plain = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    return plain.from_string(source), ChatTemplate(source)


@pytest.mark.parametrize("source", SOURCES)
@settings(max_examples=12, deadline=None)
@given(a=THEIRS, b=THEIRS)
def test_operations_are_those_of_jinja_and_keep_what_is_quoted(source, a, b):
    variables = {"a": a, "b": b, "m": {"c": a, "d": b}}
    plain, ours = compiled(source)
    try:
        expected = plain.render(variables)
    except Exception:
        with pytest.raises(TemplateError):
            ours.render([], **variables)
        return
    if "tojson" in source:   # jinja2's own escapes for HTML
        expected = expected.replace("\\u003c", "<").replace("\\u0027", "'")
    result = ours.render([], **variables)
    assert result.text == expected
    letters = set("QZ") - set(source)   # these can only come from a and b
    for text, trusted in result.pieces:
        assert not trusted or not letters & set(text.upper())


SPECS = ["%s", "%5s", "%-6s|", "%.2s", "%d", "%05d", "%+.1f", "%x", "%r", "%%", "text", "<", "%", "%q"]
VALUES = st.integers(-999, 999) | st.text("ab%", max_size=4) | st.floats(-9, 9) | st.none() | st.lists(st.integers(0, 9), max_size=2)


@settings(max_examples=300, deadline=None)
@given(
    specs=st.lists(st.sampled_from(SPECS), max_size=5),
    values=st.lists(VALUES, max_size=4).map(tuple) | VALUES,
)
def test_percent_is_that_of_python(specs, values):
    pattern = "".join(specs)
    try:
        expected = pattern % values
    except (TypeError, ValueError):
        with pytest.raises((TypeError, ValueError)):
            percent(Budget(), pattern, values)
    else:
        assert percent(Budget(), pattern, values) == expected
        assert percent(Budget(), pattern, tuple(quote_all(values)) if isinstance(values, tuple) else quote_all(values)) == expected


def test_formatting_trusts_the_pattern_only():
    result = ChatTemplate("{{ '<|a|>%s<|b|>' % m }}{{ '<|c|>{}<|d|>'.format(m) }}{{ '<|e|>%s' | format(m) }}").render([], m="|")
    assert [text for text, trusted in result.pieces if trusted] == ["<|a|>", "<|b|><|c|>", "<|d|><|e|>"]


@pytest.mark.parametrize(
    "source",
    [
        "{{ strftime_now(q) }}",
        "{{ 'a b c d e f' | truncate(3, end=q) }}",
        "{{ '{:{}>9}'.format('x', q) }}",
        "{{ '%s' % [q] }}",
        "{{ [1, 2] | tojson(separators=[q, ':']) }}",
        "{{ [1] | tojson(indent=q) }}",
        "{{ 'x' | indent(q, true) }}",
        "{{ 'x'.center(5, q) }}",
        "{{ '[1]' | replace('1', '\"' ~ q ~ '\"') | from_json }}",
        "{{ [q] | map('replace', 'a', 'b') | list }}",
        "{{ dict(**{q: 1}) }}",
    ],
)
def test_arguments_can_be_quoted_too(source):
    result = ChatTemplate(source).render([], q="Ω")
    assert "Ω" in result.text
    assert all("Ω" not in text for text, trusted in result.pieces if trusted)


def test_pieces_of_a_plain_str_are_trusted():
    assert pieces("x") == [("x", True)]
    assert pieces("") == []
