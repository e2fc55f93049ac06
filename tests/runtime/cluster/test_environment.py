import pytest
from jax._src import cloud_tpu_init
from jax._src.clusters import cloud_tpu_cluster

from rexjax.errors import UserError
from rexjax.runtime.cluster import environment
from rexjax.runtime.cluster.environment import Place

OURS = dict(zip(environment.VARIABLES, ("10.0.0.2:9876", "4", "3"), strict=True))
SLURM = {
    "SLURM_JOB_ID": "4097",
    "SLURM_STEP_NODELIST": "node[007-009,012]",
    "SLURM_NTASKS": "8",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
}
MPI = {
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
}
GKE = {"TPU_WORKER_HOSTNAMES": "127.0.0.1,127.0.0.2,127.0.0.3,127.0.0.4", "TPU_WORKER_ID": "2"}
SLICES = {"MEGASCALE_COORDINATOR_ADDRESS": "127.0.0.9:8080", "MEGASCALE_NUM_SLICES": "3", "MEGASCALE_SLICE_ID": "1"}
ONE_SLICE = {"MEGASCALE_COORDINATOR_ADDRESS": "", "MEGASCALE_NUM_SLICES": "1", "MEGASCALE_SLICE_ID": "0"}
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "1"}


@pytest.fixture
def find(monkeypatch):
    """What is found in an environment that holds nothing else, on a TPU host or elsewhere."""

    def found(variables, tpu=False):
        for name in (*OURS, *SLURM, *MPI, *GKE, *SLICES, *POD, "TPU_PROCESS_ADDRESSES"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        for module in (cloud_tpu_init, cloud_tpu_cluster):
            monkeypatch.setattr(module, "running_in_cloud_tpu_vm", tpu)
        return environment.find()

    return found


@pytest.mark.parametrize(
    "variables, tpu, place",
    [
        ({}, False, None),
        (OURS, False, Place("10.0.0.2:9876", 4, 3)),
        (OURS | {"REXJAX_PROCESSES": "1", "REXJAX_PROCESS_ID": "0"}, False, None),
        (SLURM, False, Place("node007:61441", 8, 5, (1,))),
        (SLURM | {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, False, None),
        # inside a batch script, before srun
        ({name: value for name, value in SLURM.items() if name != "SLURM_STEP_NODELIST"}, False, None),
        (MPI, False, Place("10.96.0.1:62624", 2, 1, (1,))),
        (GKE | ONE_SLICE, True, Place("127.0.0.1:8482", 4, 2)),
        (GKE | SLICES, True, Place("127.0.0.9:8482", 12, 6)),
        (GKE | ONE_SLICE | {"TPU_WORKER_HOSTNAMES": "127.0.0.1", "TPU_WORKER_ID": "0"}, True, None),
        # as `rexjax plan` sets it where there is no TPU
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, False, None),
        # ours go before all others
        (OURS | SLURM | GKE, True, Place("10.0.0.2:9876", 4, 3)),
        # a pod of its own, such as a server's
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, False, None),
    ],
)
def test_the_environment_says_who_works_together(find, variables, tpu, place):
    assert find(variables, tpu) == place


@pytest.mark.parametrize(
    "variables, words",
    [
        ({"REXJAX_COORDINATOR": "10.0.0.2:9876"}, "set REXJAX_PROCESSES, REXJAX_PROCESS_ID"),
        ({"REXJAX_PROCESSES": "4", "REXJAX_PROCESS_ID": "0"}, "set REXJAX_COORDINATOR"),
        (OURS | {"REXJAX_PROCESS_ID": "4"}, "REXJAX_PROCESS_ID=4 must be a number from 0 to below REXJAX_PROCESSES=4"),
        (OURS | {"REXJAX_PROCESS_ID": "-1"}, "REXJAX_PROCESS_ID=-1"),
        (OURS | {"REXJAX_PROCESSES": "four"}, "REXJAX_PROCESSES=four"),
        (OURS | {"REXJAX_COORDINATOR": "10.0.0.2"}, "REXJAX_COORDINATOR=10.0.0.2 must be HOST:PORT"),
        (SLURM | {"SLURM_NTASKS": "many"}, "addresses are unknown .*'many'.*: set REXJAX_COORDINATOR"),
        (POD, "JOB_COMPLETION_INDEX is set, but the number of pods is unknown: set REXJAX_COORDINATOR"),
    ],
)
def test_what_is_incomplete_or_wrong_is_named(find, variables, words):
    with pytest.raises(UserError, match=words):
        find(variables)
