"""The loading room: judged rows into the working warehouse by dlt, then the copy that everybody else opens."""
