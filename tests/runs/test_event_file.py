"""Event files are read by TensorBoard and name no host."""

import socket

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from setvae_cli.runs.event_file import EventFile


def test_tensorboard_reads_what_was_written_and_the_log_format_stands_first(tmp_path):
    events = EventFile(tmp_path)
    events.write(10, {"train_loss_step": 1.5, "train_kl_step": 4.0})
    events.write(20, {"train_loss_step": 1.25})
    events.close()
    read = EventAccumulator(str(tmp_path)).Reload()
    loss = read.Scalars("train_loss_step")
    assert [(scalar.step, scalar.value) for scalar in loss] == [(10, 1.5), (20, 1.25)]
    assert read.Tags()["scalars"][0] == "setvae/log_format"


def test_each_start_opens_its_own_private_file_without_a_host_in_its_name(tmp_path):
    for _ in range(3):
        EventFile(tmp_path).close()
    files = list(tmp_path.iterdir())
    assert len(files) == 3
    for file in files:
        assert socket.gethostname() not in file.name
        assert file.stat().st_mode & 0o077 == 0
