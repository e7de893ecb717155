/* Counts the packets of a capture and does nothing else: what libpcap itself costs. */
#include <pcap/pcap.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    char error[PCAP_ERRBUF_SIZE];
    struct pcap_pkthdr *header;
    const u_char *data;
    unsigned long long packets = 0, octets = 0;
    int more;

    if (argc != 2) {
        fprintf(stderr, "usage: %s FILE\n", argv[0]);
        return 2;
    }
    pcap_t *capture = pcap_open_offline(argv[1], error);
    if (capture == NULL) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    while ((more = pcap_next_ex(capture, &header, &data)) == 1) {
        packets++;
        octets += header->caplen;
    }
    if (more == PCAP_ERROR)
        fprintf(stderr, "%s: %s\n", argv[1], pcap_geterr(capture));
    pcap_close(capture);
    printf("%llu packets, %llu octets\n", packets, octets);
    return more == PCAP_ERROR;
}
