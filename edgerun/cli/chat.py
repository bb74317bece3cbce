"""`edgerun chat`: a conversation with a model. Knows how it is typed and shown; the answers come from `edgerun.api`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from edgerun import config
from edgerun.cli import options as o
from edgerun.cli.chat_commands import COMMANDS, ChatCommands, Leave, say
from edgerun.cli.conversation import Conversation
from edgerun.cli.editor import Editor, open_editor
from edgerun.cli.exit import warn
from edgerun.cli.figures import figures
from edgerun.cli.loading import Warnings, default_model, loaded, measure_bandwidth
from edgerun.cli.terminal import AnswerText, status
from edgerun.errors import DeviceError, EdgerunError

if TYPE_CHECKING:
    from edgerun.engine.stats import Stats
    from edgerun.llm import LLM
    from edgerun.stream import Stream


def command(
    model: o.Model = None, max_tokens: o.MaxTokens = None, ctx_size: o.CtxSize = None, threads: o.Threads = None, device: o.Device = "auto",
    cache_type_k: o.CacheTypeK = None, cache_type_v: o.CacheTypeV = None, lora: o.Lora = None, no_repack: o.NoRepack = False,
    temp: o.Temp = None, top_k: o.TopK = None, top_p: o.TopP = None, min_p: o.MinP = None, seed: o.Seed = None,
    repeat_penalty: o.RepeatPenalty = None, repeat_last_n: o.RepeatLastN = None,
    presence_penalty: o.PresencePenalty = None, frequency_penalty: o.FrequencyPenalty = None,
    logit_bias: o.LogitBias = None,
    tokenizer: o.Tokenizer = "default", chat_template: o.ChatTemplate = None, chat_template_kwargs: o.ChatTemplateKwargs = None, think: o.Think = None,
    system: o.System = None, stop: o.Stop = None, stats: o.Stats = False, quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Talk with a model.

    Enter sends a message; Alt-Enter, or a backslash at its end, begins a new line. Ctrl-C stops an answer and keeps what
    was said, Ctrl-D leaves, /help lists what else can be done. When standard input is not a terminal, each line is a message.
    Answers are sampled as those of edgerun run.
    """
    sampling = o.sampling(
        temperature=temp, top_k=top_k, top_p=top_p, min_p=min_p, seed=seed, repeat_penalty=repeat_penalty, repeat_last_n=repeat_last_n,
        presence_penalty=presence_penalty, frequency_penalty=frequency_penalty, logit_bias=logit_bias,
    )  # fmt: skip
    rendering = o.rendering(chat_template_kwargs, think)
    name = model or default_model()
    options: dict[str, Any] = {"kv": o.kv(cache_type_k, cache_type_v), "lora": o.lora(lora), "tokenizer": tokenizer, "chat_template": chat_template, "repack": o.repack(no_repack)}
    with loaded(name, ctx_size, threads, quiet, device=device, **options) as llm:
        chat = Chat(llm, name, {"max_tokens": o.limit(max_tokens), "stop": stop or []} | rendering | sampling, show_stats=stats, quiet=quiet, think=think)
        chat.conversation.system = system
        chat.talk(open_editor(config.chats_folder() / "history", [f"/{name}" for name in COMMANDS]))


class Chat:
    """A conversation that is going on. options: what `LLM.chat` takes for every answer."""

    def __init__(self, llm: LLM, model: str, options: dict[str, Any], show_stats: bool = False, quiet: bool = False, think: o.Thinking | None = None) -> None:
        self.llm = llm
        self.model = model
        self.options = options
        self.show_stats = show_stats
        self.quiet = quiet
        self.think = think
        self.conversation = Conversation()
        self.stats: Stats | None = None
        self._commands = ChatCommands(self)
        self._warnings = Warnings(llm, quiet)
        self._interactive = False
        self._again = 0

    def talk(self, editor: Editor) -> None:
        """Take messages from `editor` until they end. An error ends a chat only when nobody is there to read it."""
        self._interactive = editor.interactive
        if editor.interactive and not self.quiet:
            name = os.path.basename(self.model) if os.path.exists(self.model) else self.model
            say(f"{name}, {self.llm.context} tokens of context. /help lists the commands, Ctrl-D leaves.")
        while True:
            try:
                line = editor.read()
                if line is None:
                    return
                self._take(line)
            except Leave:
                return
            except KeyboardInterrupt:
                if not self._interactive:
                    raise
                say("(Ctrl-D or /exit leaves)")
            except EdgerunError as error:
                if not self._interactive:
                    raise
                warn(str(error))
                if isinstance(error, DeviceError):
                    say("(what was said is kept: /save FILE, start edgerun chat again, /load FILE)")

    def ask(self, question: str, again: bool = False) -> None:
        """Have `question` answered. When nothing is said, by an error or Ctrl-C, it is as if it had not been asked."""
        self.conversation.add("user", question)
        try:
            answer = self._answer(again)
        except BaseException:
            self.conversation.undo()
            raise
        self.conversation.add("assistant", answer)

    def say_stats(self) -> None:
        """Say what the last answer cost."""
        if self.stats is None:
            say("nothing was answered yet")
        else:
            measure_bandwidth(self.llm)
            say(figures(self.stats))

    def _take(self, line: str) -> None:
        """A line that was typed: nothing, a command, or a message."""
        if not line.strip() or self._commands.handle(line):
            return
        self.ask(line[1:] if line.startswith("//") else line)

    def _answer(self, again: bool) -> str:
        """Show the answer as it comes. Ctrl-C stops it, and is an exception only when nothing was said yet or nobody is there."""
        writer, stopped = AnswerText(self.think), False
        with status("reading the conversation:", wanted=not self.quiet) as advance:
            stream: Stream = self.llm.chat(self.conversation.request(), stream=True, on_progress=advance, **self._options(again))
            self._warnings.show()
            try:
                for piece in stream:
                    writer.write(piece, piece.kind)
            except KeyboardInterrupt:
                stopped = True
                stream.close()
        writer.end()
        self.stats = stream.stats
        if stopped and not (stream.reply.text and self._interactive):
            raise KeyboardInterrupt
        if self.stats.context_full:
            say("the context is full: /clear begins again, edgerun chat -c N makes it larger")
        if self.show_stats:
            self.say_stats()
        return stream.reply.text

    def _options(self, again: bool) -> dict[str, Any]:
        """Those of every answer; with a seed, another one for each time the same message is answered again."""
        self._again = self._again + 1 if again else 0
        if self._again and "seed" in self.options:
            return self.options | {"seed": self.options["seed"] + self._again}
        return self.options
