"""Tables as inputs and outputs: rows become chat requests, their answers become columns.

    source.py                           what a table is: columns, rows, batches
    opening.py, places.py               from a path or URL to a source; its files (unchanged.py)
    arrow_source.py, memory_source.py   Parquet and Arrow IPC, tables in memory (arrow_cells.py)
    text_source.py                      CSV and JSONL (text_rows.py, text_types.py)
    requests.py, template.py            the request of a row
    producer.py                         the rows as items of the queue
    answer_types.py, answers.py         answers as values, typed by a JSON schema
    columns.py                          the columns of the output
    writer.py, formats.py               rows and results side by side, as files

Nothing here knows engines, command lines, or who wants a table.
"""
