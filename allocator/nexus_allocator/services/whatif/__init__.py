"""What a changed policy would do: a year of launches, replayed under the rules that admission uses."""
