"""Which tokens may come next: grammars, thinking budgets, and the masks they give.

    json_schema.py    a JSON schema made ready for the library, or refused by name
    keywords.py       where schemas stand in a schema
    free_values.py    an end for numbers and for what a schema leaves free
    grammar.py        texts of grammars: JSON, regex, choice, Lark or GBNF
    tool_formats.py   how each family writes calls
    tool_grammar.py   the grammar of tool calls in a family's format
    harmony_grammar.py  the same where all messages are wrapped
    call_arguments.py the arguments of a function in it
    argument_values.py  which texts stand for the values of one argument
    patterns.py       patterns of schemas
    plain_text.py     texts without quotes, as regular expressions
    excluded_words.py words that must not stand in a value
    lark_text.py      fixed texts and terminals of a grammar
    compiler.py       from such a text to a matcher, under limits, with a cache
    trial.py          the process in which a grammar is tried first
    limits.py         what one grammar may cost
    patience.py       how long a caller waits for one
    thinking.py       where reasoning ends, and how it is made to
    constraint.py     what a request carries: its matcher, advanced token by token
    factory.py        from a grammar and a budget to a constraint
    masks.py          the masks of one step

Grammars are llguidance's (docs/STRUCTURED.md says why). Matchers live with the requests, beside the
scheduler, and a step's masks travel in its plan: a request that is preempted, or whose step is
rolled back, keeps a matcher that stands where its output stands; several ranks sample by one mask
instead of each owning a grammar; and one that is handed over is rebuilt from its output tokens.
With a step in flight, a constrained request waits for its token before it is planned again; masks
may later follow their plan as a message of their own, without another owner.
"""
