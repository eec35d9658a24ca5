"""The only home of SQL: tables, the session, and queries in one file per noun."""
