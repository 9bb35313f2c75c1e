"""Where chat templates run: in a sandbox, with what `transformers` offers them.

Except for what would make a prompt another one at another time: today's date is the one
that is given, and jinja2's `random` and `lipsum` are not there.
"""

import datetime
import functools
import json

import jinja2
import jinja2.ext
import jinja2.sandbox


class Generation(jinja2.ext.Extension):
    """Renders `{% generation %}` blocks as what they hold.

    `transformers` finds by them which tokens an assistant wrote; as there, a variable
    that is set within one is not seen outside.
    """

    tags = {"generation"}

    def parse(self, parser):
        """Returns the node of a block, from its opening tag to its closing one."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        call = self.call_method("_content")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _content(self, caller):
        return caller()


def compiled(text, today):
    """Returns the template of a text, ready to render.

    Args:
        text: of the template.
        today: a `datetime.date`, the one that it may write.

    Raises:
        jinja2.exceptions.TemplateError: it is not valid.
    """
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[Generation, jinja2.ext.loopcontrols],
    )
    environment.filters["tojson"] = _to_json
    environment.globals["strftime_now"] = functools.partial(_format_date, today)
    environment.globals["raise_exception"] = _raise
    del environment.filters["random"], environment.globals["lipsum"]
    return environment.from_string(text)


def _to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    """Does not escape for HTML, unlike the filter of jinja2."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _format_date(today, form):
    return datetime.datetime.combine(today, datetime.time()).strftime(form)


def _raise(message):
    raise jinja2.exceptions.TemplateError(message)
