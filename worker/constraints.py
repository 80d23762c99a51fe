"""What a request demands of its answer's form, and how it is enforced.

Owns: which of response_format, structured_outputs, guided_* and tool_choice decides, the words of
their refusals, and thinking budgets. Must not know: how grammars are compiled, tokens. A forced
call goes before response_format, which then has nothing left to say; where the model may choose, an
answer is a call or has the format.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NoReturn

from engine.errors import GrammarError
from engine.request import TokenConstraint
from engine.structured_output.factory import ConstraintFactory, ThinkingRules
from engine.structured_output.tool_formats import ToolFormat, tool_format
from engine.structured_output.tool_grammar import CallRules, opens_with_token, tool_grammar
from schemas.chat import ChatCompletionRequest
from schemas.completions import CompletionRequest
from schemas.errors import ApiError
from schemas.tools import NamedToolChoice
from worker.answer_form import AnswerForm, answer_form

__all__ = ["Constrainer"]

NewConstraint = Callable[[], TokenConstraint]


@dataclass(frozen=True, slots=True)
class Constrainer:
    """Constrains the answers of one model. `tool_parser` is the name of its tool-call parser, None
    if it has none.
    """

    factory: ConstraintFactory
    tool_parser: str | None = None

    def constrain(self, chat: ChatCompletionRequest, prompt: Sequence[int]) -> NewConstraint | None:
        """What makes a constraint for each choice; None if the request demands nothing.

        Raises ApiError 400 for what cannot be enforced. May take a while: grammars are compiled.
        """
        form = answer_form(chat)
        rules = self._call_rules(chat, form)
        budget = self._thinking_budget(chat)
        if rules is None and form is None and budget is None:
            return None
        is_off = chat.template_variables.get("enable_thinking") is False
        if rules is not None:
            rules = replace(rules, may_think=not is_off and budget != 0)
        thinking = ThinkingRules(
            budget=budget,
            is_off=is_off,
            is_continued=bool(chat.continue_final_message),
            is_in_grammar=rules is not None and self._format_holds_reasoning,
        )
        grammar: str | None = None
        if rules is not None:
            grammar = self._compiled_calls(chat, rules, form)
        elif form is not None:
            grammar = self._compiled_form(form)
        return lambda: self.factory.build(
            grammar, prompt, thinking, ignores_ends=bool(chat.ignore_eos)
        )

    def constrain_text(
        self, completion: CompletionRequest, prompts: Sequence[Sequence[int]]
    ) -> list[NewConstraint | None]:
        """The same for each prompt of a text completion. Its answers begin with the form, unless
        the prompt ends inside of reasoning.
        """
        form = answer_form(completion)
        if form is None:
            return [None] * len(prompts)
        grammar = self._compiled_form(form)
        thinking = ThinkingRules(is_off=True, is_raw=True)
        return [
            partial(
                self.factory.build,
                grammar,
                prompt,
                thinking,
                ignores_ends=bool(completion.ignore_eos),
            )
            for prompt in prompts
        ]

    @property
    def _format_holds_reasoning(self) -> bool:
        form = tool_format(self.tool_parser or "", self.factory.tokens)
        return form is not None and form.is_channelled

    def _call_rules(self, chat: ChatCompletionRequest, form: AnswerForm | None) -> CallRules | None:
        """How calls are to be enforced; None if they need not be."""
        functions = _functions(chat)
        if not functions:
            return None
        choice = chat.tool_choice_mode
        is_named = isinstance(chat.tool_choice, NamedToolChoice)
        is_parallel = not is_named and chat.parallel_tool_calls is not False
        if choice == "required":
            return CallRules(must_call=True, is_parallel=is_parallel)
        is_strict = any(function.get("strict") for function in functions)
        has_form = form is not None and self.tool_parser is not None
        written = tool_format(self.tool_parser or "", self.factory.tokens)
        # Elsewhere there is only one, or all but the first are dropped from the answer.
        can_limit = written is not None and not (written.is_channelled or written.opens_list)
        is_limited = not is_parallel and can_limit
        if is_strict or has_form or is_limited:
            answer = form.part(is_compact=True) if form is not None else None
            return CallRules(must_call=False, is_parallel=is_parallel, answer=answer)
        return None

    def _compiled_calls(
        self, chat: ChatCompletionRequest, rules: CallRules, form: AnswerForm | None
    ) -> str:
        written = self._format(chat, rules, form.param if form is not None else "tools")
        functions = [_enforced(function, rules) for function in _functions(chat)]
        try:
            grammar = tool_grammar(written, functions, rules, self.factory.tokens)
            self.factory.compiler.matcher(grammar)
        except GrammarError as error:
            self._blame(chat, functions, written, form, error)
        return grammar

    def _format(self, chat: ChatCompletionRequest, rules: CallRules, form_param: str) -> ToolFormat:
        param = "tool_choice" if rules.must_call else _first_strict(chat) or form_param
        if self.tool_parser is None:
            raise _unsupported(
                param,
                "this model has no tool-call parser; choose one with --tool-call-parser",
            )
        written = tool_format(self.tool_parser, self.factory.tokens)
        if written is None:
            raise _unsupported(
                param,
                f"calls in the format '{self.tool_parser}' cannot be enforced with this model's "
                "tokenizer, which lacks the tokens of that format",
            )
        if rules.answer is not None and not opens_with_token(written, self.factory.tokens):
            raise _unsupported(
                form_param,
                f"in the format '{self.tool_parser}' of this model a call can not be told from an "
                "answer in that form; set 'tool_choice' to 'none' or 'required'",
            )
        return written

    def _blame(
        self,
        chat: ChatCompletionRequest,
        functions: Sequence[Mapping[str, Any]],
        written: ToolFormat,
        form: AnswerForm | None,
        error: GrammarError,
    ) -> NoReturn:
        """Find out which part of a grammar of several is refused."""
        if form is not None:
            self._compiled_form(form)
        rules = CallRules(must_call=True, is_parallel=False)
        for function in functions:
            try:
                alone = tool_grammar(written, [function], rules, self.factory.tokens)
                self.factory.compiler.matcher(alone)
            except GrammarError as reason:
                name = function["name"]
                raise ApiError(
                    400,
                    f"Invalid schema for function '{name}': {reason}.",
                    param=f"tools[{_index_of(chat, name)}].function.parameters",
                    code="invalid_function_parameters",
                ) from reason
        raise ApiError(
            400, f"Invalid 'tools': together they can not be enforced: {error}.", param="tools"
        ) from error

    def _compiled_form(self, form: AnswerForm) -> str:
        grammar = form.grammar()
        try:
            self.factory.compiler.matcher(grammar)
        except GrammarError as error:
            raise form.refusal(str(error)) from error
        return grammar

    def _thinking_budget(self, chat: ChatCompletionRequest) -> int | None:
        budget = chat.thinking_token_budget
        if budget is not None and not self.factory.can_think:
            raise ApiError(
                400,
                "Unsupported parameter: 'thinking_token_budget' is not supported with this model: "
                "it has no tokens that begin and end its reasoning.",
                param="thinking_token_budget",
                code="unsupported_parameter",
            )
        return budget


def _functions(chat: ChatCompletionRequest) -> list[Mapping[str, Any]]:
    """The functions that the answer may call; only the named one, if one is named."""
    choice = chat.tool_choice
    functions = [tool["function"] for tool in chat.template_tools or ()]
    if isinstance(choice, NamedToolChoice):
        return [function for function in functions if function["name"] == choice.function.name]
    return functions


def _enforced(function: Mapping[str, Any], rules: CallRules) -> Mapping[str, Any]:
    """The function as the grammar takes it: the arguments of one that is neither strict nor forced
    are any object.
    """
    if rules.must_call or function.get("strict"):
        return function
    return {"name": function["name"], "parameters": {"type": "object"}}


def _first_strict(chat: ChatCompletionRequest) -> str | None:
    for function in _functions(chat):
        if function.get("strict"):
            return f"tools[{_index_of(chat, function['name'])}].function.strict"
    return None


def _index_of(chat: ChatCompletionRequest, name: str) -> int:
    """The place of a function among the tools as the client gave them."""
    names = [tool.function.name if tool.type == "function" else "" for tool in chat.tools or ()]
    return names.index(name)


def _unsupported(param: str, reason: str) -> ApiError:
    return ApiError(
        400,
        f"Unsupported value: '{param}' is not supported: {reason}.",
        param=param,
        code="unsupported_value",
    )
