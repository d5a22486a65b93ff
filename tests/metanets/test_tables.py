from __future__ import annotations

import torch

from zoovet.metanets.tables import table_row, table_rows


def test_rows_are_the_tables_own_up_to_its_length_and_interpolated_beyond() -> None:
    table = torch.tensor([[0.0, 1.0], [2.0, 5.0], [4.0, -3.0]])
    assert torch.equal(table_rows(table, 2), table[:2])
    assert torch.equal(table_rows(table, 3), table)
    stretched = table_rows(table, 5)
    assert torch.equal(stretched, torch.tensor([[0.0, 1.0], [1.0, 3.0], [2.0, 5.0], [3.0, 1.0], [4.0, -3.0]]))
    for position in range(5):
        assert torch.equal(table_row(table, position, 5), stretched[position])
    assert torch.equal(table_row(table, 1, 3), table[1])
    assert torch.equal(table_row(table, 9, 5), table[2])  # behind the last: the last


def test_a_table_of_one_row_has_it_everywhere() -> None:
    table = torch.tensor([[3.0]])
    assert torch.equal(table_rows(table, 4), torch.full((4, 1), 3.0))
    assert torch.equal(table_row(table, 2, 4), table[0])
